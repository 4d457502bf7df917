"""Sites: their names, the operators they belong to and the storages each operator can use."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from s2a_core.storage import CODES, Storage

SMOOTH_ACTIVATIONS = ("gelu", "gelu_tanh", "silu", "mish", "hardswish", "sigmoid", "tanh", "elu", "softplus")
PIECEWISE_LINEAR = ("relu", "relu6", "hardtanh", "leaky_relu", "hardsigmoid")
# Stock operators whose gradient is linear in what they keep, or smooth in it, so that a code's error stays in
# proportion. Others compare (amax, where) or divide by it (div, sqrt): a rounded value gives them NaN. Kept exact.
ROUNDABLE = frozenset({
    "mul", "matmul", "bmm", "baddbmm", "einsum", "addmm", "addcmul", "linear", "conv", "softmax", "log_softmax", "exp",
    "low_rank_linear", "low_rank_conv",
    "attention", "layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm", "normalize", "interpolate",
    "grid_sample", "avg_pool2d", "adaptive_avg_pool2d", *SMOOTH_ACTIVATIONS,
})  # fmt: skip
# Smaller tensors (statistics, class tokens, gates of a few hundred values) are kept exact: their bytes do not
# matter and a code would cost accuracy; the generic fallback diverges at 2-3 bits when statistics are coded.
MIN_CODED_ELEMENTS = 1024

_ALIASES = {
    "__matmul__": "matmul",
    "__rmatmul__": "matmul",
    "__mul__": "mul",
    "__rmul__": "mul",
    "__imul__": "mul",
    "mul_": "mul",
    "multiply": "mul",
    "__truediv__": "div",
    "div_": "div",
    "__pow__": "pow",
    "scaled_dot_product_attention": "attention",
    "add_": "add",
}


@dataclass(frozen=True)
class SiteSpec:
    """One place where an operator keeps something. shape: samples first; region, block: what can absorb it."""

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    options: tuple[Storage, ...]
    region: str | None
    position: int
    block: str | None = None


class Site:
    """The call being run: its name, operator, storage and what a code of its tensors would be called."""

    __slots__ = ("exact_shapes", "name", "op", "reason", "storage")

    def __init__(self, name: str, op: str, storage: Storage, reason: str) -> None:
        self.name, self.op, self.storage, self.reason = name, op, storage, reason
        self.exact_shapes: tuple[tuple[int, ...], ...] = ()  # of weights, which are never coded


def op_name(func: Callable[..., Any]) -> str:
    """The word we use for a torch function: `__matmul__` and `torch.matmul` are both `matmul`."""
    name = getattr(func, "__name__", str(func))
    return _ALIASES.get(name, name)


def options_of(op: str, is_frozen: bool = True) -> tuple[Storage, ...]:
    """Storages an operator can use, most exact first."""
    if op in SMOOTH_ACTIVATIONS:
        return (Storage.EXACT, *CODES)
    if op in PIECEWISE_LINEAR or op in ("max_pool2d", "dropout"):
        return (Storage.EXACT, Storage.MASK)
    if op in ("conv", "batch_norm", "avg_pool2d", "adaptive_avg_pool2d") and is_frozen:
        return (Storage.EXACT, Storage.NONE)
    if op in ("region", "block"):
        return (Storage.NONE, Storage.B8, Storage.B6, Storage.B5, Storage.B4, Storage.B3)
    return (Storage.EXACT, *CODES[:-1]) if op in ROUNDABLE else (Storage.EXACT,)


def seed_of(seed: int, step: int, site: str) -> int:
    """Seed of stochastic rounding for a site in a step of a run: 31 bits, the same on every machine."""
    return zlib.crc32(f"{seed}:{step}:{site}".encode()) & 0x7FFFFFFF
