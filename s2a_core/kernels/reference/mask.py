"""Piecewise linear activations with exact gradients from one bit: the outer pieces of a clamp share the gradient 0.

relu, leaky_relu                        bit = x > 0
relu6, hardtanh(low, high)              bit = low < x < high
hardsigmoid                             bit = -3 < x < 3, gradient 1/6
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.kernels.layout import packed_bytes
from s2a_core.kernels.reference.channels import CHUNK_ELEMENTS
from s2a_core.kernels.reference.formats import back_in_place, in_memory_order, in_payload_order, mark
from s2a_core.kernels.reference.packing import pack, unpack

NAMES = ("relu", "relu6", "hardtanh", "leaky_relu", "hardsigmoid")


def bounds(name: str, params: tuple[float, ...]) -> tuple[float, float | None]:
    """The open interval of x whose elements get bit 1; None is no upper bound."""
    if name in ("relu", "leaky_relu"):
        return 0.0, None
    if name == "relu6":
        return 0.0, 6.0
    if name == "hardtanh":
        low, high = params or (-1.0, 1.0)
        return low, high
    if name == "hardsigmoid":
        return -3.0, 3.0
    raise ValueError(f"no mask for {name!r}; there are {', '.join(NAMES)}")


def slopes(name: str, params: tuple[float, ...]) -> tuple[float, float]:
    """Gradient where the bit is 0, and where it is 1."""
    if name == "leaky_relu":
        return (params[0] if params else 0.01), 1.0
    return 0.0, 1.0 / 6.0 if name == "hardsigmoid" else 1.0


def mask_fwd(x: Tensor, name: str, params: tuple[float, ...] = (), inplace: bool = False) -> tuple[Tensor, Tensor]:
    """f(x) and one bit an element. x: any shape; y overwrites x if `inplace`; uint8 of ceil(numel / 8) bytes."""
    low, high = bounds(name, params)
    flat = in_memory_order(x).view(-1)
    payload = torch.empty(packed_bytes(x.numel(), 1), dtype=torch.uint8, device=x.device)
    for start in range(0, x.numel(), CHUNK_ELEMENTS):
        part = flat[start : start + CHUNK_ELEMENTS]
        inside = torch.gt(part, low)
        if high is not None:
            inside &= torch.lt(part, high)
        packed = pack(inside.view(torch.uint8), 1)
        payload[start // 8 : start // 8 + packed.numel()] = packed
    return evaluate(x, name, params, inplace), mark(payload, x)


def mask_bwd(dy: Tensor, payload: Tensor, name: str, params: tuple[float, ...] = ()) -> Tensor:
    """dy times the exact slope. dy: any shape; returns dx in dy's dtype."""
    low, high = slopes(name, params)
    source = in_payload_order(dy, payload)
    dx = torch.empty_like(source)
    flat, result, packed = source.view(-1), dx.view(-1), payload.view(-1)
    for start in range(0, dy.numel(), CHUNK_ELEMENTS):
        part = flat[start : start + CHUNK_ELEMENTS]
        bits = packed[start // 8 : start // 8 + packed_bytes(part.numel(), 1)]
        inside = unpack(bits, 1, part.numel()).view(torch.bool)
        result[start : start + CHUNK_ELEMENTS] = torch.where(inside, part * high, part * low if low else 0.0)
    return back_in_place(dx, payload)


def evaluate(x: Tensor, name: str, params: tuple[float, ...], inplace: bool) -> Tensor:
    """The activation itself, as stock PyTorch computes it."""
    if name == "relu":
        return F.relu(x, inplace)
    if name == "relu6":
        return F.relu6(x, inplace)
    if name == "hardsigmoid":
        return F.hardsigmoid(x, inplace)
    if name == "leaky_relu":
        return F.leaky_relu(x, params[0] if params else 0.01, inplace)
    low, high = bounds(name, params)
    return F.hardtanh(x, low, high if high is not None else 1.0, inplace)
