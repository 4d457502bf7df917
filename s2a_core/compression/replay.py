"""Modes a module runs under: narrow weights beside wide biases, and no linear whose output nobody reads."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from s2a_core.compression.forwards import put_back
from s2a_core.kernels.sums import column_sum
from s2a_core.operators.dtypes import linear_operands, matched, matched_call
from s2a_core.operators.function import StoringFunction

# Calls whose gradients do not read their operands' values, so that what feeds them may be left uncomputed.
_VALUE_FREE = {
    torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__,
    Tensor.view, Tensor.reshape, torch.reshape, Tensor.permute, torch.permute, Tensor.transpose, torch.transpose,
    Tensor.contiguous, Tensor.flatten, torch.flatten, Tensor.roll, torch.roll,
}  # fmt: skip
_SCALING = {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__}
_METADATA_NAMES = frozenset(
    {"__get__", "size", "dim", "numel", "stride", "is_contiguous", "__len__", "is_floating_point"}
)

_BRANCHING_NAMES = frozenset({
    "__bool__", "__float__", "__int__", "__index__", "__complex__", "__array__", "__contains__", "item", "tolist",
    "numpy", "cpu", "nonzero", "argwhere", "unique", "equal", "allclose", "is_nonzero",
})  # fmt: skip


class PhantomLinear(StoringFunction):
    """A linear whose output no gradient reads: backward as usual, forward nothing. x: [..., K], weight: [M, K]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight, x if weight.requires_grad else None)
        return x.new_zeros(1).expand(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        weight, x = ctx.saved_tensors
        dx = dy.to(weight.dtype) @ weight if ctx.needs_input_grad[0] else None
        rows = dy.flatten(0, -2)
        dw = rows.t() @ x.flatten(0, -2).to(dy.dtype) if ctx.needs_input_grad[1] else None
        db = column_sum(rows) if ctx.needs_input_grad[2] else None
        return dx, dw, db


class WidthMode(TorchFunctionMode):
    """Operands in dtypes that stock takes together, and nothing else."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return with_matched_operands(func, args, kwargs or {})


def with_matched_operands(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The call with its operands in dtypes that stock takes together."""
    instead = matched_call(func, args, kwargs)
    if instead is not None:
        func, args, kwargs = instead
    return func(*args, **kwargs)


class _Kind(Enum):
    """What a call means to a replay."""

    LINEAR = auto()
    DROPOUT = auto()
    SCALING = auto()
    UNREADING = auto()  # no gradient reads its operands' values
    BRANCHING = auto()  # what follows in Python may depend on its operands' values
    OTHER = auto()


@functools.lru_cache(maxsize=4096)
def _kind_of(func: Any) -> _Kind:
    if func is F.linear:
        return _Kind.LINEAR
    if func is F.dropout:
        return _Kind.DROPOUT
    if func in _SCALING:
        return _Kind.SCALING
    if func.__name__ in _BRANCHING_NAMES:
        return _Kind.BRANCHING
    return _Kind.UNREADING if func in _VALUE_FREE or func.__name__ in _METADATA_NAMES else _Kind.OTHER


class ReplayMode(TorchFunctionMode):
    """Follows linears, matches operand dtypes and, given `phantom`, leaves that linear's output uncomputed.

    After a run, `last_unread` is the index of a linear whose output no gradient reads, -1 where there is none;
    `weights` are those of its linears, `has_matched` tells whether an operand's dtype was changed, and `has_branched`
    whether the calls may have been others for other values.
    """

    def __init__(self, phantom: int = -1) -> None:
        super().__init__()
        self.phantom, self.last_unread, self.has_matched, self.has_branched = phantom, -1, False, False
        self.weights: list[Tensor] = []

    def begin(self) -> None:
        """The module runs again, from its first linear on."""
        self.weights.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind, kwargs = _kind_of(func), kwargs or {}
        if kind is _Kind.LINEAR:
            return self._linear(*linear_operands(*args, **kwargs))
        if kind is _Kind.DROPOUT and (kwargs.get("p", 0.5) == 0.0 or not kwargs.get("training", True)):
            return args[0] if args else kwargs["input"]
        self.has_branched |= kind is _Kind.BRANCHING
        if kind is not _Kind.UNREADING and not (kind is _Kind.SCALING and sum(map(_varies, args)) == 1):
            self.last_unread = -1
            instead = matched_call(func, args, kwargs)
            if instead is not None:
                self.has_matched = True
                func, args, kwargs = instead
        return func(*args, **kwargs) if kwargs else func(*args)

    def _linear(self, *operands: Any) -> Tensor:
        x, weight, bias = matched(*operands)
        self.has_matched |= x is not operands[0] or bias is not operands[2]
        index = self.last_unread = len(self.weights)
        self.weights.append(weight)
        return phantom_linear(x, weight, bias) if index == self.phantom else F.linear(x, weight, bias)


def phantom_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """PhantomLinear under autocast. Arguments as F.linear's."""
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    result: Tensor = PhantomLinear.apply(x, weight, bias)
    return result


@contextmanager
def without_output_of(linear: nn.Linear | None) -> Iterator[None]:
    """Inside, the output of this layer stays uncomputed."""
    if linear is None:
        yield
        return
    attributes = vars(linear)
    own = attributes.get("forward")
    attributes["forward"] = lambda input: phantom_linear(input, linear.weight, linear.bias)
    try:
        yield
    finally:
        put_back(attributes, own)


def _varies(operand: Any) -> bool:
    """Whether the gradient of a product reads this operand, or is read for it: all but numbers and frozen weights."""
    if not isinstance(operand, Tensor):
        return False
    weight = operand if operand._base is None else operand._base
    return not isinstance(weight, nn.Parameter) or weight.requires_grad
