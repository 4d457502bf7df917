"""Activations, forward with index and pack in one pass over x, backward in one pass over dy."""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from s2a_core.kernels.curves import Curve
from s2a_core.kernels.layout import packed_bytes
from s2a_core.kernels.reference.formats import back_in_place, in_memory_order, in_payload_order, is_channels_last, mark
from s2a_core.kernels.reference.mask import bounds, slopes
from s2a_core.kernels.tables import DerivativeTable
from s2a_core.kernels.triton_kernels.launch import cdiv, launch
from s2a_core.kernels.triton_kernels.packing import GROUPS, is_wide, load_codes, store_codes

# Curves that `_evaluate` computes; of others PyTorch computes y and the kernel the codes alone.
EVALUATED = frozenset({
    "gelu", "gelu_tanh", "silu", "mish", "hardswish", "sigmoid", "tanh", "elu", "softplus",
})  # fmt: skip
NO_BOUND = float("nan")  # nothing, infinity included, is at or above it


@triton.jit
def _tanh(x):
    # 1 - 2 / (exp(2x) + 1): no cancellation that a 16-bit result could show, right limits at both ends
    return 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)


@triton.jit
def _evaluate(x, low, high, NAME: tl.constexpr):
    """f(x) in fp32. low, high: the bounds of a clamp, or the slope of a leaky ReLU in low."""
    if NAME == "gelu":
        y = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    elif NAME == "gelu_tanh":
        y = 0.5 * x * (1.0 + _tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    elif NAME == "silu":
        y = x * tl.sigmoid(x)
    elif NAME == "mish":
        softplus = tl.where(x > 20.0, x, tl.log(1.0 + tl.exp(tl.minimum(x, 20.0))))
        y = x * _tanh(softplus)
    elif NAME == "hardswish":
        y = x * tl.minimum(tl.maximum(x + 3.0, 0.0), 6.0) / 6.0
    elif NAME == "sigmoid":
        y = tl.sigmoid(x)
    elif NAME == "tanh":
        y = _tanh(x)
    elif NAME == "elu":
        y = tl.where(x > 0.0, x, tl.exp(tl.minimum(x, 0.0)) - 1.0)
    elif NAME == "softplus":
        y = tl.where(x > 20.0, x, tl.log(1.0 + tl.exp(tl.minimum(x, 20.0))))
    elif NAME == "hardsigmoid":
        y = tl.minimum(tl.maximum(x + 3.0, 0.0), 6.0) / 6.0
    elif NAME == "leaky_relu":
        y = tl.where(x > 0.0, x, x * low)
    elif NAME == "relu":
        y = tl.maximum(x, 0.0)
    else:
        y = tl.minimum(tl.maximum(x, low), high)
    return tl.where(x == x, y, x)  # NaN stays NaN


@triton.jit
def _act_fwd_kernel(
    x, y, out, borders, numel, low, high, slope,
    NAME: tl.constexpr, MASKED: tl.constexpr, BITS: tl.constexpr, GROUPS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    index = (pid * GROUPS + tl.arange(0, GROUPS))[:, None] * 8 + tl.arange(0, 8)[None, :]
    inside = index < numel
    v = tl.load(x + index, mask=inside, other=0.0).to(tl.float32)
    if NAME == "leaky_relu":
        tl.store(y + index, _evaluate(v, slope, high, NAME).to(y.dtype.element_ty), mask=inside)
    elif NAME != "":
        tl.store(y + index, _evaluate(v, low, high, NAME).to(y.dtype.element_ty), mask=inside)
    code = tl.zeros((GROUPS, 8), tl.int32)
    if MASKED:
        code += ((v > low) & ((v >= high) == 0)).to(tl.int32)
    elif BITS <= 2:
        for k in tl.static_range(2**BITS - 1):
            code += (v >= tl.load(borders + k)).to(tl.int32)
    else:
        for k in tl.static_range(BITS):
            middle = borders + code + (2 ** (BITS - 1 - k) - 1)
            code += tl.where(v >= tl.load(middle), 2 ** (BITS - 1 - k), 0)
    store_codes(tl.where(inside, code, 0), out, pid * GROUPS, numel, BITS, GROUPS)


@triton.jit
def _act_bwd_kernel(dy, packed, levels, dx, numel, BITS: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    index = pid * BLOCK + tl.arange(0, BLOCK)
    inside = index < numel
    level = tl.load(levels + load_codes(packed, index, inside, BITS))
    g = tl.load(dy + index, mask=inside, other=0.0).to(tl.float32)
    d = tl.where(level == 0.0, 0.0, g * level)  # even where g is infinite, as at sqrt(relu(x))
    tl.store(dx + index, d.to(dx.dtype.element_ty), mask=inside)


def act_fwd(x: Tensor, curve: Curve, table: DerivativeTable) -> tuple[Tensor, Tensor]:
    """f(x) and packed table indices: y like x, uint8 of ceil(numel * bits / 8) bytes."""
    source = in_memory_order(x)
    name = curve.name if curve.name in EVALUATED else ""
    y = torch.empty_like(source) if name else curve.function(source)
    payload = torch.empty(packed_bytes(x.numel(), table.bits), dtype=torch.uint8, device=x.device)
    if x.numel():
        launch(
            _act_fwd_kernel, (cdiv(x.numel(), 8 * GROUPS),), (source, y, payload, table.on(x.device)[0]),
            x.numel(), 0.0, 0.0, 0.0, name, False, table.bits, GROUPS, is_wide(x.numel()),
        )  # fmt: skip
    return (y.permute(0, 3, 1, 2) if is_channels_last(x) else y), mark(payload, x)


def act_bwd(dy: Tensor, payload: Tensor, table: DerivativeTable) -> Tensor:
    """dy * levels[code] in dy's dtype."""
    return scaled_by_codes(dy, payload, table.bits, table.on(dy.device)[1])


def mask_fwd(x: Tensor, name: str, params: tuple[float, ...] = (), inplace: bool = False) -> tuple[Tensor, Tensor]:
    """relu, relu6, hardtanh(low, high), leaky_relu(slope) or hardsigmoid of x, and one bit an element."""
    low, high, slope = _shape_of(name, params)
    source = in_memory_order(x)
    writes_x = inplace and source.data_ptr() == x.data_ptr()
    y = source if writes_x else torch.empty_like(source)
    payload = torch.empty(packed_bytes(x.numel(), 1), dtype=torch.uint8, device=x.device)
    if x.numel():
        launch(
            _act_fwd_kernel, (cdiv(x.numel(), 8 * GROUPS),), (source, y, payload, payload),
            x.numel(), low, high, slope, name, True, 1, GROUPS, is_wide(x.numel()),
        )  # fmt: skip
    shaped = y.permute(0, 3, 1, 2) if is_channels_last(x) else y
    if inplace:
        return (x if writes_x else x.copy_(shaped)), mark(payload, x)
    return shaped, mark(payload, x)


def mask_bwd(dy: Tensor, payload: Tensor, name: str, params: tuple[float, ...] = ()) -> Tensor:
    """dy times the exact slope, in dy's dtype."""
    return scaled_by_codes(dy, payload, 1, _slopes(name, params, dy.device))


@functools.lru_cache(maxsize=256)
def _shape_of(name: str, params: tuple[float, ...]) -> tuple[float, float, float]:
    """Lower and upper bound of the elements that get bit 1, and the slope of the others."""
    low, high = bounds(name, params)
    return float(low), NO_BOUND if high is None else float(high), float(slopes(name, params)[0])


@functools.lru_cache(maxsize=256)
def _slopes(name: str, params: tuple[float, ...], device: torch.device) -> Tensor:
    """On the device once: a copy in every backward would wait for all kernels before it."""
    return torch.tensor(slopes(name, params), device=device)


def scaled_by_codes(dy: Tensor, payload: Tensor, bits: int, levels: Tensor) -> Tensor:
    """dy * levels[code] in dy's dtype: one kernel reads dy and the codes."""
    source = in_payload_order(dy, payload)
    dx = torch.empty_like(source)
    if dy.numel():
        launch(
            _act_bwd_kernel, (cdiv(dy.numel(), 1024),), (source, payload, levels, dx),
            dy.numel(), bits, 1024, is_wide(dy.numel()),
        )  # fmt: skip
    return back_in_place(dx, payload)
