"""Convolution with a frozen weight: stock PyTorch keeps its input even so, this keeps none of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv1d_input, conv2d_input, conv3d_input

from s2a_core.kernels.sums import channel_sum
from s2a_core.operators.call import Call, Intent, autocast_enabled
from s2a_core.operators.dtypes import matched
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.operator import HOOKED_CODES, Operator
from s2a_core.storage import Storage

_autograd: Any = torch._C._autograd  # type: ignore[attr-defined]
_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_INPUT_GRADIENTS: dict[int, Any] = {1: conv1d_input, 2: conv2d_input, 3: conv3d_input}


class FrozenConvFunction(StoringFunction):
    """conv(x, weight) + bias for a weight that is not trained. Saves no activation: the weight alone gives dx.

    x: [B, C, *spatial] (1 to 3 spatial dimensions); bias may be trainable, its gradient is the sum of dy.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.options = tuple(x.shape), (stride, padding, dilation, groups)
        return _CONVOLUTIONS[len(stride)](x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        dx = None
        if ctx.needs_input_grad[0]:
            dx = _INPUT_GRADIENTS[dy.dim() - 2](ctx.shape, weight.to(dy.dtype), dy, *ctx.options)
        db = None
        if ctx.needs_input_grad[2]:
            db = channel_sum(dy)
        return dx, None, db, None, None, None, None


class Convolution(Operator):
    """Convolution of 1 to 3 dimensions: with a frozen weight its input is not saved."""

    knows = frozenset({"input", "weight", "bias", "stride", "padding", "dilation", "groups"})
    operands = ("input", "weight", "bias")
    packs = False
    is_roundable = True

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Of a frozen one: exact, or nothing."""
        return (Storage.EXACT, Storage.NONE)

    def bind(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """Its arguments, operands in one dtype."""
        given = super().bind(func, args, kwargs)
        if given is not None:
            operands = matched(given["input"], given["weight"], given["bias"])
            given["input"], given["weight"], given["bias"] = operands
        return given

    def offered(self, given: dict[str, Any]) -> tuple[Storage, ...]:
        """Nothing where the weight is frozen; codes of the input where it is trained."""
        return self.storages if _is_frozen(given) else (Storage.EXACT, *HOOKED_CODES)

    def without_gradient(self, call: Call) -> Any:
        """Stock with matched dtypes."""
        return call.func(*call.given.values())

    def prepared(self, call: Call) -> Callable[[Tensor], Any] | None:
        """A convolution that saves its weight alone."""
        given, site = call.given, call.site
        if not _is_frozen(given) or site.storage is Storage.EXACT:
            return None
        site.storage, site.intent = Storage.NONE, Intent.FROZEN_WEIGHT
        dims = given["weight"].dim() - 2
        stride, padding, dilation = (per_dim(given[name], dims) for name in ("stride", "padding", "dilation"))
        weight, bias, groups, func = given["weight"], given["bias"], given["groups"], call.func
        if _needs_input_shape_alone(given["input"], weight, bias):
            others = tuple(value for name, value in given.items() if name != "input")
            return lambda x: _stock_without_input(func, x, others)
        return lambda x: FrozenConvFunction.apply(x, weight, bias, stride, padding, dilation, groups)

    def run(self, call: Call) -> Any:
        """Stock, or with no input saved."""
        run = self.prepared(call)
        if run is None:
            call.site.exact_shapes = (tuple(call.given["weight"].shape),)
            return self.without_gradient(call)
        return run(call.given["input"])


def _is_frozen(given: dict[str, Any]) -> bool:
    """Whether the weight is not trained, x has a batch, and the padding is given in numbers."""
    weight = given["weight"]
    is_batch = given["input"].dim() == weight.dim()
    return is_batch and not weight.requires_grad and not isinstance(given["padding"], str)


def _needs_input_shape_alone(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether stock's backward is what FrozenConvFunction's is, and nobody else watches what stock saves.

    It reads no input where the weight is frozen. A bias's gradient it would round to x's dtype.
    """
    if type(weight) not in (Tensor, nn.Parameter) or (bias is not None and bias.requires_grad):
        return False
    if x.dtype != weight.dtype or (autocast_enabled(x) and x.dtype != torch.get_autocast_dtype(x.device.type)):
        return False
    return x.is_cuda and _autograd._top_saved_tensors_default_hooks(True) is None


def _stock_without_input(func: Any, given: Tensor, others: tuple[Any, ...]) -> Tensor:
    """The stock call of an input and other arguments; of the input autograd saves the shape."""
    x: Tensor | None = given
    dtype, device = given.dtype, given.device

    def pack(saved: Tensor) -> Any:
        return saved.shape if saved is x else saved

    def unpack(saved: Any) -> Tensor:
        is_shape = type(saved) is torch.Size
        return torch.empty(1, dtype=dtype, device=device).expand(saved) if is_shape else saved

    _autograd._push_saved_tensors_default_hooks(pack, unpack)
    try:
        result: Tensor = func(given, *others)
    finally:
        _autograd._pop_saved_tensors_default_hooks()
        x = None  # autograd keeps the hooks
    return result


def per_dim(value: Any, dims: int) -> tuple[int, ...]:
    """A stride, padding or dilation as one number per dimension."""
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return values * dims if len(values) == 1 else values


CONV = Convolution("conv", F.conv1d, F.conv2d, F.conv3d, spellings=("conv1d", "conv2d", "conv3d"))
