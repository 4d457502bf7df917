"""The one place that picks an implementation: native library or reference for CPU tensors, Triton for CUDA.

Without Triton, CUDA tensors use the reference, with one warning. Any other device raises UnsupportedSite before
anything runs. A kernel is launched under its tensor's own device: Triton itself launches on the current one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from s2a_core.errors import UnsupportedSite
from s2a_core.kernels.curves import Curve
from s2a_core.kernels.layout import payload_bytes
from s2a_core.kernels.native.build import WAIT_S, BuildError, built
from s2a_core.kernels.reference import activation, channels, dropout, mask, nf4, norm, packing, pooling
from s2a_core.kernels.reference.pooling import Pair
from s2a_core.kernels.tables import DerivativeTable as DerivativeTable
from s2a_core.kernels.tables import Histogram as Histogram
from s2a_core.kernels.tables import fit_table as fit_table
from s2a_core.kernels.tables import known_table as known_table

# torch.cuda.current_device without the look whether CUDA is initialised, for tensors that are there already
_current_device: Callable[[], int] = getattr(torch._C, "_cuda_getDevice", torch.cuda.current_device)
SUPPORTED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_REFERENCE: dict[str, Any] = {
    name: getattr(module, name)
    for module, names in (
        (packing, ("pack", "unpack")),
        (channels, ("quantize_channels", "dequantize_channels")),
        (nf4, ("quantize_nf4", "dequantize_nf4")),
        (norm, ("normalize", "norm_fwd", "norm_bwd")),
        (activation, ("act_fwd", "act_bwd")),
        (mask, ("mask_fwd", "mask_bwd")),
        (pooling, ("maxpool2d_fwd", "maxpool2d_bwd")),
        (dropout, ("dropout_fwd", "dropout_bwd")),
    )
    for name in names
}


class _Native:
    """The native library, once it is loaded, and why not if it could not be."""

    module: ModuleType | None = None
    failure: str = "not tried yet: compress() and enable_native() do"
    is_settled: bool = False  # loaded, failed or switched off: not tried again by itself


def enable_native(wait_s: float = WAIT_S, retry: bool = True) -> bool:
    """Build (once per machine) and use the C++ kernels for CPU tensors; False if that is impossible.

    Codes are the same bits as the reference's. `backend_name()` says what runs, `native_failure()` why not this.
    wait_s: seconds to wait for the compiler; retry: also run a compiler that failed before.
    """
    if _Native.module is None:
        module = importlib.import_module("s2a_core.kernels.native.library")
        _Native.failure = module.load(wait_s, retry)
        if not _Native.failure:
            _Native.module = module
    _Native.is_settled = True
    return _Native.module is not None


def start_native(device_type: str = "cpu") -> None:
    """Let the compiler begin where this machine has no C++ kernels yet; who needs them first waits for what is left."""
    if device_type == "cpu" and not _Native.is_settled:
        with contextlib.suppress(BuildError, OSError):  # told to whoever needs the kernels
            built(wait_s=0.0)


def prefer_native(device_type: str = "cpu") -> bool:
    """Use the C++ kernels for CPU tensors where that is possible; tried once per process, silent when it is not.

    device_type: of the model; nothing is built where it is not cpu.
    """
    if _Native.is_settled or device_type != "cpu":
        return _Native.module is not None
    return enable_native(retry=False)


def disable_native() -> None:
    """Back to the reference for CPU tensors."""
    _Native.module, _Native.failure, _Native.is_settled = None, "disabled", True


def native_failure() -> str:
    """Why CPU tensors use the reference; empty when they do not."""
    return _Native.failure


@functools.cache
def _triton() -> tuple[ModuleType | None, str]:
    """The Triton kernels; or None, why they cannot be imported, and one warning."""
    try:
        return importlib.import_module("s2a_core.kernels.triton_kernels"), ""
    except ImportError as error:
        failure = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"CUDA tensors use the reference kernels, which are correct but slower: {failure}; install triton",
            RuntimeWarning,
            stacklevel=2,
        )
        return None, failure


def why_reference(device: str | torch.device = "cpu") -> str:
    """Why tensors on this device use the reference; empty when they do not."""
    if backend_name(device) != "reference":
        return ""
    return _triton()[1] if torch.device(device).type == "cuda" else _Native.failure


def backend_name(device: str | torch.device = "cpu") -> str:
    """triton, native or reference: what runs for tensors on this device."""
    kind = torch.device(device).type
    if kind == "cuda":
        return "triton" if _triton()[0] is not None else "reference"
    if kind == "cpu":
        return "native" if _Native.module is not None else "reference"
    return "none"


def _pick(name: str, x: Tensor, *, is_float: bool = True) -> Any:
    """The implementation of `name` for x, or UnsupportedSite."""
    if is_float and x.dtype not in SUPPORTED_DTYPES:
        names = ", ".join(str(d).removeprefix("torch.") for d in SUPPORTED_DTYPES)
        raise UnsupportedSite(
            f"{name}: no kernel for {str(x.dtype).removeprefix('torch.')}, there is one for {names}; "
            "keep this site exact or convert the model",
            details={"operator": name, "dtype": str(x.dtype)},
        )
    if x.is_cuda:
        function = _on_cuda(name)
        is_current = x.get_device() == _current_device()
        return _unseen(function if is_current else _launched_on(x.device, function))
    kind = x.device.type
    if kind == "cpu":
        return _unseen(getattr(_Native.module, name, None) or _REFERENCE[name])
    raise UnsupportedSite(
        f"{name}: no kernel for device {kind!r}, there is one for cpu and cuda; keep this site exact or move the model",
        details={"operator": name, "device": kind},
    )


@functools.cache
def _on_cuda(name: str) -> Any:
    """What runs for CUDA tensors."""
    return getattr(_triton()[0], name, None) or _REFERENCE[name]


def _unseen(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without torch function modes, to whom it would show each `data_ptr` and `stride` of its operands."""
    if torch._C._len_torch_function_stack() == 0:
        return function

    def run(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return function(*args, **kwargs)

    return run


def _launched_on(device: torch.device, function: Callable[..., Any]) -> Callable[..., Any]:
    def launch(*args: Any, **kwargs: Any) -> Any:
        with torch.cuda.device(device):
            return function(*args, **kwargs)

    return launch


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes below 2^bits as a byte stream. codes: uint8, any shape; returns uint8 [ceil(numel * bits / 8)]."""
    return _pick("pack", codes, is_float=False)(codes, bits)


def unpack(packed: Tensor, bits: int, numel: int) -> Tensor:
    """The codes `pack` was given, uint8 [numel]."""
    return _pick("unpack", packed, is_float=False)(packed, bits, numel)


def quantize_channels(x: Tensor, bits: int) -> Tensor:
    """x [B, N, C] as b-bit codes, a bf16 scale and zero per (sample, channel): uint8 [payload_bytes]."""
    return _pick("quantize_channels", x)(x, bits)


def dequantize_channels(
    payload: Tensor, shape: tuple[int, int, int], bits: int, dtype: torch.dtype, out: Tensor | None = None
) -> Tensor:
    """The tensor a payload stands for, [B, N, C] in `dtype`, written to `out` if given."""
    if payload.numel() != payload_bytes(shape, bits):
        raise ValueError(f"{tuple(shape)} at {bits} bits is {payload_bytes(shape, bits)} bytes, not {payload.numel()}")
    return _pick("dequantize_channels", payload, is_float=False)(payload, shape, bits, dtype, out)


def quantize_nf4(x: Tensor) -> Tensor:
    """Weights x [groups, group] as 4-bit codes and a bf16 scale per group: uint8 [nf4_bytes]."""
    return _pick("quantize_nf4", x)(x)


def dequantize_nf4(payload: Tensor, groups: int, group: int, dtype: torch.dtype) -> Tensor:
    """The weights that a payload stands for, [groups, group] in `dtype`."""
    return _pick("dequantize_nf4", payload, is_float=False)(payload, groups, group, dtype)


def normalize(x: Tensor, eps: float, subtract_mean: bool = True) -> tuple[Tensor, Tensor]:
    """x̂ and 1/std over the last dimension: fp32 [..., C] and fp32 [..., 1]."""
    return _pick("normalize", x)(x, eps, subtract_mean)


def norm_fwd(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    bits: int,
    tokens: int,
    subtract_mean: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """y = x̂ * weight + bias, the payload of x̂ [samples, tokens, C], rstd fp32 [..., 1]. x: [..., C]."""
    return _pick("norm_fwd", x)(x, weight, bias, eps, bits, tokens, subtract_mean)


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
    """dx in dy's dtype, dw (None unless needed) and db in fp32 [C], from x̂'s payload. dy: [..., C]."""
    return _pick("norm_bwd", dy)(dy, payload, rstd, weight, shape, bits, subtract_mean, needs_weight_grad)


def act_fwd(x: Tensor, curve: Curve, table: DerivativeTable) -> tuple[Tensor, Tensor]:
    """f(x) and packed table indices: y like x, uint8 of ceil(numel * bits / 8) bytes."""
    return _pick("act_fwd", x)(x, curve, table)


def act_bwd(dy: Tensor, payload: Tensor, table: DerivativeTable) -> Tensor:
    """dy * levels[code] in dy's dtype."""
    return _pick("act_bwd", dy)(dy, payload, table)


def mask_fwd(x: Tensor, name: str, params: tuple[float, ...] = (), inplace: bool = False) -> tuple[Tensor, Tensor]:
    """relu, relu6, hardtanh(low, high), leaky_relu(slope) or hardsigmoid of x, and one bit an element."""
    return _pick("mask_fwd", x)(x, name, params, inplace)


def mask_bwd(dy: Tensor, payload: Tensor, name: str, params: tuple[float, ...] = ()) -> Tensor:
    """dy times the exact slope, in dy's dtype."""
    return _pick("mask_bwd", dy)(dy, payload, name, params)


def maxpool2d_fwd(
    x: Tensor,
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """max_pool2d of x [B, C, H, W] and packed offsets in the window, 4 bits up to 16 positions."""
    return _pick("maxpool2d_fwd", x)(x, kernel, stride, padding, dilation, ceil_mode)


def maxpool2d_bwd(
    dy: Tensor,
    payload: Tensor,
    shape: tuple[int, ...],
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> Tensor:
    """The exact gradient of x [shape]."""
    return _pick("maxpool2d_bwd", dy)(dy, payload, shape, kernel, stride, padding, dilation)


def dropout_fwd(x: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Dropout of x and one bit an element."""
    return _pick("dropout_fwd", x)(x, p)


def dropout_bwd(dy: Tensor, payload: Tensor, p: float) -> Tensor:
    """The exact gradient of dropout."""
    return _pick("dropout_bwd", dy)(dy, payload, p)
