"""Modules that make one torch call and nothing else: it is routed at once, without a function mode in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from s2a_core.operators.dtypes import StockCall

CallOf = Callable[[Any, Tensor], StockCall | None]


def _convolution(function: Any) -> CallOf:
    def call(m: Any, x: Tensor) -> StockCall | None:
        if m.padding_mode != "zeros":
            return None
        return function, (x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups), {}

    return call


def _batch_norm(m: Any, x: Tensor) -> StockCall | None:
    if m.training or m.running_mean is None:
        return None
    return F.batch_norm, (x, m.running_mean, m.running_var, m.weight, m.bias, False, m.momentum or 0.0, m.eps), {}


def _layer_norm(m: Any, x: Tensor) -> StockCall:
    return F.layer_norm, (x, m.normalized_shape, m.weight, m.bias, m.eps), {}


# By the very class: a subclass may have a forward of its own.
_CALLS: dict[type[nn.Module], CallOf] = {
    nn.ReLU: lambda m, x: (F.relu, (x,), {"inplace": m.inplace}),
    nn.SiLU: lambda m, x: (F.silu, (x,), {"inplace": m.inplace}),
    nn.GELU: lambda m, x: (F.gelu, (x,), {"approximate": m.approximate}),
    nn.LayerNorm: _layer_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Conv1d: _convolution(F.conv1d),
    nn.Conv2d: _convolution(F.conv2d),
}
# Of libraries that are not imported for it.
_CALLS_BY_NAME: dict[str, CallOf] = {
    "timm.layers.norm.LayerNorm": lambda m, x: None if m._fast_norm else _layer_norm(m, x),
}


def direct_call(module: nn.Module) -> CallOf | None:
    """What makes the one call of a module's forward, of the module and its input; None where it may make others."""
    if "forward" in vars(module):
        return None
    kind = type(module)
    return _CALLS.get(kind) or _CALLS_BY_NAME.get(f"{kind.__module__}.{kind.__qualname__}")
