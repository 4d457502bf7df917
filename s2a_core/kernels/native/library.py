"""Loads the C++ kernels and gives their functions the signatures of the reference.

The library has a C interface, so that only ATen's thread pool is compiled in.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.kernels.curves import Curve
from s2a_core.kernels.layout import check_bits, packed_bytes, payload_bytes
from s2a_core.kernels.native.build import WAIT_S, BuildError, built
from s2a_core.kernels.reference.activation import evaluate
from s2a_core.kernels.reference.channels import row_stride
from s2a_core.kernels.reference.formats import back_in_place, in_memory_order, in_payload_order, is_channels_last, mark
from s2a_core.kernels.reference.mask import bounds, slopes
from s2a_core.kernels.reference.mask import evaluate as evaluate_piecewise
from s2a_core.kernels.reference.nf4 import levels_on
from s2a_core.kernels.reference.norm import grouped
from s2a_core.kernels.reference.pooling import Pair, offset_bits, pair
from s2a_core.kernels.tables import DerivativeTable

ACTIVATION_CHUNK = 1 << 16  # elements whose input and result fit a core's second-level cache

_DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_loaded: list[ctypes.CDLL] = []


def load(wait_s: float = WAIT_S, retry: bool = False) -> str:
    """Load the library, building it first if this machine has not; returns what went wrong, or an empty string."""
    if _loaded:
        return ""
    try:
        library = ctypes.CDLL(str(built(wait_s, retry)))
    except (OSError, BuildError) as error:
        return f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error)
    _declare(library)
    _loaded.append(library)
    return ""


def _declare(library: ctypes.CDLL) -> None:
    pointer, whole, size, real = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
    for name, arguments in {
        "s2a_pack": (pointer, size, whole, pointer),
        "s2a_unpack": (pointer, size, whole, pointer),
        "s2a_quantize": (pointer, whole, size, size, size, size, whole, pointer),
        "s2a_dequantize": (pointer, size, size, size, whole, whole, pointer),
        "s2a_nf4_decode": (pointer, pointer, size, size, whole, pointer),
        "s2a_norm_fwd": (
            pointer, whole, pointer, pointer, real, size, size, size, whole, whole, pointer, whole, pointer, pointer,
        ),
        "s2a_norm_bwd": (
            pointer, whole, pointer, pointer, pointer, size, size, size, whole, whole, pointer, pointer, pointer,
        ),
        "s2a_index": (pointer, whole, size, pointer, whole, real, real, pointer),
        "s2a_scale": (pointer, whole, size, pointer, whole, pointer, pointer),
        "s2a_maxpool_fwd": (pointer, whole, pointer, whole, whole, pointer, pointer),
        "s2a_maxpool_bwd": (pointer, whole, pointer, whole, pointer, pointer),
    }.items():  # fmt: skip
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None


def _call(name: str, *arguments: Any) -> None:
    getattr(_loaded[0], name)(*(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments))


def _bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8)


def _floats(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.detach().to(torch.float32).contiguous()


def pack(codes: Tensor, bits: int) -> Tensor:
    """As the reference's."""
    flat = codes.contiguous()
    out = _bytes(packed_bytes(flat.numel(), bits))
    _call("s2a_pack", flat, flat.numel(), bits, out)
    return out


def unpack(packed: Tensor, bits: int, numel: int) -> Tensor:
    """As the reference's."""
    check_bits(bits)
    out, packed = _bytes(numel), packed.contiguous()
    _call("s2a_unpack", packed, numel, bits, out)
    return out


def quantize_channels(x: Tensor, bits: int) -> Tensor:
    """As the reference's; one read of x from memory when a sample fits the cache, and no temporary tensor."""
    payload = torch.zeros(payload_bytes(x.shape, bits), dtype=torch.uint8)
    if x.numel():
        stride = row_stride(x)
        if stride == 0:
            x, stride = x.contiguous(), x.shape[2]
        _call("s2a_quantize", x, _DTYPES[x.dtype], *x.shape, stride, bits, payload)
    return payload


def dequantize_channels(
    payload: Tensor, shape: tuple[int, int, int], bits: int, dtype: torch.dtype, out: Tensor | None = None
) -> Tensor:
    """As the reference's."""
    is_direct = out is not None and out.is_contiguous() and out.dtype in _DTYPES
    result = out if is_direct and out is not None else torch.empty(tuple(shape), dtype=dtype)
    if result.numel():
        _call("s2a_dequantize", payload.contiguous(), *shape, bits, _DTYPES[result.dtype], result)
    if out is not None and not is_direct:
        return out.copy_(result)
    return result


def dequantize_nf4(payload: Tensor, groups: int, group: int, dtype: torch.dtype) -> Tensor:
    """As the reference's."""
    out = torch.empty((groups, group), dtype=dtype)
    _call("s2a_nf4_decode", payload.contiguous(), levels_on(payload.device), groups, group, _DTYPES[dtype], out)
    return out


def norm_fwd(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    bits: int,
    tokens: int,
    subtract_mean: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """As the reference's, up to the rounding of sums; x̂ exists for one sample a thread at a time."""
    shape = grouped(x, tokens)
    y = torch.empty(x.shape, dtype=x.dtype)
    rstd = torch.empty((*x.shape[:-1], 1), dtype=torch.float32)
    payload = torch.zeros(payload_bytes(shape, bits), dtype=torch.uint8)
    if x.numel():
        x, w, b = x.contiguous(), _floats(weight), _floats(bias)
        _call("s2a_norm_fwd", x, _DTYPES[x.dtype], w, b, eps, *shape, bits, int(subtract_mean), y, _DTYPES[y.dtype], payload, rstd)  # fmt: skip # noqa: E501
    return y, payload, rstd


def norm_bwd(
    dy: Tensor,
    payload: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    shape: tuple[int, int, int],
    bits: int,
    subtract_mean: bool = True,
    needs_weight_grad: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """As the reference's, in one pass over dy."""
    dy, w, rstd = dy.contiguous(), _floats(weight), rstd.contiguous()
    dx = torch.empty(dy.shape, dtype=dy.dtype)
    db = torch.zeros(shape[-1])
    dw = torch.zeros(shape[-1]) if needs_weight_grad else None
    if dy.numel():
        _call("s2a_norm_bwd", dy, _DTYPES[dy.dtype], payload, rstd, w, *shape, bits, int(subtract_mean), dx, dw, db)
    return dx, dw, db


def act_fwd(x: Tensor, curve: Curve, table: DerivativeTable) -> tuple[Tensor, Tensor]:
    """As the reference's; the function itself is PyTorch's, on chunks that the index then reads from cache."""
    source = in_memory_order(x)
    y = torch.empty_like(source)
    payload = _bytes(packed_bytes(x.numel(), table.bits))
    flat, result, borders, dtype = source.view(-1), y.view(-1), table.borders, _DTYPES[x.dtype]
    chunk = ACTIVATION_CHUNK * torch.get_num_threads()
    for start in range(0, x.numel(), chunk):
        part = flat[start : start + chunk]
        evaluate(part, curve, result[start : start + chunk])
        codes = payload[start * table.bits // 8 :]
        _call("s2a_index", part, dtype, part.numel(), borders, table.bits, 0.0, 0.0, codes)
    return (y.permute(0, 3, 1, 2) if is_channels_last(x) else y), mark(payload, x)


def act_bwd(dy: Tensor, payload: Tensor, table: DerivativeTable) -> Tensor:
    """As the reference's, in one pass."""
    return _scaled(dy, payload, table.bits, table.levels)


def mask_fwd(x: Tensor, name: str, params: tuple[float, ...] = (), inplace: bool = False) -> tuple[Tensor, Tensor]:
    """As the reference's."""
    low, high = bounds(name, params)
    source, payload = in_memory_order(x), _bytes(packed_bytes(x.numel(), 1))
    limit = float("nan") if high is None else high
    _call("s2a_index", source, _DTYPES[x.dtype], x.numel(), None, 1, low, limit, payload)
    return evaluate_piecewise(x, name, params, inplace), mark(payload, x)


def mask_bwd(dy: Tensor, payload: Tensor, name: str, params: tuple[float, ...] = ()) -> Tensor:
    """As the reference's."""
    return _scaled(dy, payload, 1, torch.tensor(slopes(name, params)))


def _scaled(dy: Tensor, payload: Tensor, bits: int, levels: Tensor) -> Tensor:
    source = in_payload_order(dy, payload)
    dx = torch.empty_like(source)
    _call("s2a_scale", source, _DTYPES[dy.dtype], dy.numel(), payload, bits, levels, dx)
    return back_in_place(dx, payload)


def maxpool2d_fwd(
    x: Tensor,
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """As the reference's, without PyTorch's 64-bit index."""
    k, p, d = pair(kernel), pair(padding), pair(dilation)
    s = k if stride is None else pair(stride)
    bits = offset_bits(k)
    # the output's size, with PyTorch's own checks of the options, from a tensor without memory
    size = F.max_pool2d(torch.empty(x.shape, device="meta"), k, s, p, d, ceil_mode).shape
    last = is_channels_last(x)
    y = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last if last else torch.contiguous_format)
    payload = _bytes(packed_bytes(y.numel(), bits))
    if y.numel():
        source = x if last else x.contiguous()
        _call(
            "s2a_maxpool_fwd", source, _DTYPES[x.dtype], _sizes(x.shape, size, k, s, p, d), int(last), bits, y, payload
        )
    return y, payload


def maxpool2d_bwd(
    dy: Tensor,
    payload: Tensor,
    shape: tuple[int, ...],
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> Tensor:
    """As the reference's; sums of overlapping windows are made in fp32."""
    k, p, d = pair(kernel), pair(padding), pair(dilation)
    s = k if stride is None else pair(stride)
    dx = torch.zeros(tuple(shape), dtype=dy.dtype)
    if dy.numel():
        sizes = _sizes(shape, dy.shape, k, s, p, d)
        _call("s2a_maxpool_bwd", dy.contiguous(), _DTYPES[dy.dtype], sizes, offset_bits(k), payload, dx)
    return dx


def _sizes(shape: Sequence[int], size: Sequence[int], *options: Pair) -> Tensor:
    """What the C++ struct Pool holds, int64 [14]."""
    planes = math.prod(shape[:-2])
    return torch.tensor([planes, shape[-3], *shape[-2:], *size[-2:], *(v for option in options for v in option)])
