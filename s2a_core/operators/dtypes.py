"""Operands in the dtypes that stock PyTorch takes together: frozen weights may be narrower than trained biases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.operators.call import autocast_enabled
from s2a_core.operators.signature import bound
from s2a_core.operators.stock import layer_norm, loses_bias_gradient

StockCall = tuple[Any, tuple[Any, ...], dict[str, Any]]  # a function with its arguments


def wide(scale: Tensor | None, statistics: Tensor | None = None) -> Tensor | None:
    """A scale or shift per channel in fp32 unless its statistics are narrow too.

    Batch norm takes scales in the dtype of its statistics alone; group norm takes wide ones beside any input.
    """
    if scale is None or (statistics is not None and statistics.dtype == scale.dtype):
        return scale
    return scale.float() if scale.dtype in (torch.bfloat16, torch.float16) else scale


def matched(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Operands of a product in the weight's dtype, where autocast does not see to that."""
    if (x.dtype == weight.dtype and (bias is None or bias.dtype == x.dtype)) or autocast_enabled(x):
        return x, weight, bias
    return x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype)


def matched_call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StockCall | None:
    """The call to make instead of this one, which stock does not take as it is; None where stock takes it."""
    rule = _RULES.get(func)
    return None if rule is None else rule(func, args, kwargs)


def _linear(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StockCall | None:
    operands = linear_operands(*args, **kwargs)
    taken = matched(*operands)
    return None if all(new is old for new, old in zip(taken, operands, strict=True)) else (func, taken, {})


def linear_operands(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The arguments of F.linear, however they are passed."""
    return input, weight, bias


def _batch_norm(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StockCall | None:
    """Scale and shift in a dtype that stock takes beside the statistics."""
    given = bound(func, args, kwargs)
    if given is None:
        return None
    mean, scale, shift = given["running_mean"], given["weight"], given["bias"]
    given["weight"], given["bias"] = wide(scale, mean), wide(shift, mean)
    return None if given["weight"] is scale and given["bias"] is shift else (func, (), given)


def _like(
    position: int, name: str, is_norm: bool = False
) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], StockCall | None]:
    """A call whose floating operands take the dtype of this argument, unless autocast casts them itself."""

    def match(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StockCall | None:
        lead = args[position] if len(args) > position else kwargs.get(name)
        if not isinstance(lead, Tensor):
            return None
        if autocast_enabled(lead) and not (is_norm and lead.device.type == "cpu"):  # on CPU it leaves norms alone
            return None
        dtype = lead.dtype

        def is_other(value: Any) -> bool:
            return isinstance(value, Tensor) and value.is_floating_point() and value.dtype != dtype

        if not any(map(is_other, (*args, *kwargs.values()))):
            return None
        given = tuple(value.to(dtype) if is_other(value) else value for value in args)
        return func, given, {name: v.to(dtype) if is_other(v) else v for name, v in kwargs.items()}

    return match


_like_input, _like_weight = _like(0, "input", is_norm=True), _like(1, "weight")


def _layer_norm(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> StockCall | None:
    changed = _like_input(func, args, kwargs)
    _, args, kwargs = changed or (func, args, kwargs)
    return (layer_norm, args, kwargs) if loses_bias_gradient(*args, **kwargs) else changed


# Of norms and attention the first tensor's dtype, of convolutions the weight's; linear layers: `matched`.
_RULES: dict[Any, Callable[[Any, tuple[Any, ...], dict[str, Any]], StockCall | None]] = {
    F.linear: _linear,
    F.batch_norm: _batch_norm,
    F.layer_norm: _layer_norm,
    F.rms_norm: _like_input,
    F.group_norm: _like_input,
    F.scaled_dot_product_attention: _like(0, "query"),
    F.conv1d: _like_weight,
    F.conv2d: _like_weight,
    F.conv3d: _like_weight,
}
