"""Operands in the dtypes that stock PyTorch takes together: frozen weights may be narrower than trained biases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.operators.call import autocast_enabled
from s2a_core.operators.signature import bound
from s2a_core.operators.stock import layer_norm


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


def _batch_norm(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Scale and shift in a dtype that stock takes beside the statistics."""
    given = bound(func, args, kwargs)
    if given is None:
        return func(*args, **kwargs)
    mean = given["running_mean"]
    given["weight"], given["bias"] = wide(given["weight"], mean), wide(given["bias"], mean)
    return func(**given)


def _like(position: int, is_norm: bool) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]:
    """A call whose floating operands take the dtype of the one at `position`, unless autocast casts them itself."""

    def match(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        lead = args[position] if len(args) > position else args[0]
        if not isinstance(lead, Tensor):
            return func(*args, **kwargs)
        if autocast_enabled(lead) and not (is_norm and lead.device.type == "cpu"):  # on CPU it leaves norms alone
            return func(*args, **kwargs)

        def cast(value: Any) -> Any:
            return value.to(lead.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

        return func(*map(cast, args), **{name: cast(value) for name, value in kwargs.items()})

    return match


_like_input = _like(0, is_norm=True)


def _layer_norm(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _like_input(layer_norm, args, kwargs)


# Of norms and attention the first tensor's dtype, of convolutions the weight's; linear layers: `matched`.
MATCHED_CALLS: dict[Any, Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]] = {
    F.batch_norm: _batch_norm,
    F.layer_norm: _layer_norm,
    F.rms_norm: _like(0, is_norm=True),
    F.group_norm: _like(0, is_norm=True),
    F.scaled_dot_product_attention: _like(0, is_norm=False),
    F.conv1d: _like(1, is_norm=False),
    F.conv2d: _like(1, is_norm=False),
    F.conv3d: _like(1, is_norm=False),
}
