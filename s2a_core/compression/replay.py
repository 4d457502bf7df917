"""Running a module again in backward: narrow weights beside wide biases, and no work for a last linear nobody reads."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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


class PhantomLinear(torch.autograd.Function):
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
        db = rows.sum(0, dtype=torch.float32) if ctx.needs_input_grad[2] else None
        return dx, dw, db


class ReplayMode(TorchFunctionMode):
    """Counts linears, matches operand dtypes and, given `phantom`, leaves that linear's output uncomputed.

    After a run, `last_unread` is the index of a linear whose output no gradient reads, -1 where there is none.
    """

    def __init__(self, phantom: int = -1) -> None:
        super().__init__()
        self.phantom = phantom
        self.num_linears = 0
        self.last_unread = -1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func is F.dropout and (kwargs.get("p", 0.5) == 0.0 or not kwargs.get("training", True)):
            return args[0]
        if func in _SCALING and sum(map(_varies, args)) == 1:
            return func(*args, **kwargs)
        if func not in _VALUE_FREE and func.__name__ not in _METADATA_NAMES:
            self.last_unread = -1
        if func in _MATCHED:
            args, kwargs = _matched_call(func, args, kwargs)
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs)
        return func(*args, **kwargs)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        index = self.num_linears
        self.num_linears += 1
        self.last_unread = index
        if index == self.phantom and not torch.is_autocast_enabled(input.device.type):
            return PhantomLinear.apply(input.to(weight.dtype), weight, bias)
        if torch.is_autocast_enabled(input.device.type):
            return F.linear(input, weight, bias)
        return F.linear(input.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype))


def _varies(operand: Any) -> bool:
    """Whether the gradient of a product reads this operand, or is read for it: all but numbers and frozen weights."""
    if not isinstance(operand, Tensor):
        return False
    weight = operand if operand._base is None else operand._base
    return not isinstance(weight, nn.Parameter) or weight.requires_grad


def wide(scale: Tensor | None, statistics: Tensor | None = None) -> Tensor | None:
    """A scale or shift per channel in fp32 unless its statistics are narrow too.

    Batch norm takes scales in the dtype of its statistics alone; group norm takes wide ones beside any input.
    """
    if scale is None or (statistics is not None and statistics.dtype == scale.dtype):
        return scale
    return scale.float() if scale.dtype in (torch.bfloat16, torch.float16) else scale


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *rest: Any,
    **more: Any,
) -> Tensor:
    weight, bias = wide(weight, running_mean), wide(bias, running_mean)
    return F.batch_norm(input, running_mean, running_var, weight, bias, *rest, **more)


def _matched_call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Every floating operand in the dtype of the first tensor (norms, attention) or of the weight (convolutions)."""
    lead = args[_MATCHED[func]] if len(args) > _MATCHED[func] else args[0]
    if not isinstance(lead, Tensor):
        return args, kwargs
    if torch.is_autocast_enabled(lead.device.type) and not (func in _NORMS and lead.device.type == "cpu"):
        return args, kwargs  # autocast casts them itself; on CPU it leaves norms alone

    def match(value: Any) -> Any:
        return value.to(lead.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    return tuple(match(a) for a in args), {k: match(v) for k, v in kwargs.items()}


_NORMS = (F.layer_norm, F.rms_norm, F.group_norm)
_MATCHED: dict[Any, int] = {
    **dict.fromkeys(_NORMS, 0),
    F.scaled_dot_product_attention: 0,
    F.conv1d: 1,
    F.conv2d: 1,
    F.conv3d: 1,
}
