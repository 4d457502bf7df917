"""A frozen linear layer, or 1 x 1 convolution, with a low-rank change (LoRA) as one operator."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight
from torch.overrides import handle_torch_function, has_torch_function

from s2a_core.kernels.sums import channel_sum, column_sum
from s2a_core.operators.call import Call
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.operator import HOOKED_CODES, Operator
from s2a_core.storage import Storage


def low_rank_linear(x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """y = x·Wᵀ + b + scale·(x·downᵀ)·upᵀ. x: [..., K], weight: [M, K] frozen, down: [r, K], up: [M, r]; y: [..., M].

    The product of low rank is added into y, so that nothing as wide as y is made beside it; what is kept is x.
    Source: LoRA (Hu et al. 2021).
    """
    operands = (x, weight, bias, down, up)
    if has_torch_function(operands):
        result: Tensor = handle_torch_function(low_rank_linear, operands, *operands, scale)
        return result
    return linear_sum(*operands, scale)


def linear_sum(x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """low_rank_linear itself, which nothing intercepts."""
    y: Tensor = LowRankLinearFunction.apply(*_in_one_dtype(x, weight, bias), down, up, scale)
    return y.view(*x.shape[:-1], -1)


def low_rank_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float, stride: tuple[int, int]
) -> Tensor:
    """low_rank_linear at every pixel: a 1 x 1 convolution without padding.

    x: [B, K, H, W], weight: [M, K, 1, 1] frozen, down: [r, K, 1, 1], up: [M, r, 1, 1].
    y: [B, M, H / stride, W / stride], rounded up.
    """
    operands = (x, weight, bias, down, up)
    if has_torch_function(operands):
        result: Tensor = handle_torch_function(low_rank_conv, operands, *operands, scale, stride)
        return result
    return conv_sum(*operands, scale, stride)


def conv_sum(
    x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float, stride: tuple[int, int]
) -> Tensor:
    """low_rank_conv itself, which nothing intercepts."""
    y: Tensor = LowRankConvFunction.apply(*_in_one_dtype(x, weight, bias), down, up, scale, stride)
    return y


def _in_one_dtype(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """In autocast's dtype, else in the weight's: frozen weights may be narrower than x."""
    autocasts = torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if autocasts else weight.dtype
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


class LowRankLinearFunction(StoringFunction):
    """low_rank_linear with x, weight and bias of one dtype, y: [rows, M]. Saves x where down or up are trained."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        trains = ctx.needs_input_grad[3] or ctx.needs_input_grad[4]
        ctx.save_for_backward(x if trains else None, weight, down, up)
        ctx.scale, ctx.shape = scale, x.shape
        rows = _rows(x)
        y = F.linear(rows, weight, bias)  # no view, for what follows may change it in place
        return y.addmm_(rows @ down.to(x.dtype).t(), up.to(x.dtype).t(), alpha=scale)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, down, up = ctx.saved_tensors
        needs = ctx.needs_input_grad
        d_low = dy @ up.to(dy.dtype)  # [rows, r]
        dx = d_down = d_up = None
        if needs[0]:
            dx = (dy @ weight).addmm_(d_low, down.to(dy.dtype), alpha=ctx.scale).view(ctx.shape)
        if needs[3]:
            d_down = (d_low.t() @ _rows(x)).to(down.dtype).mul_(ctx.scale)
        if needs[4]:
            d_up = (dy.t() @ (_rows(x) @ down.to(x.dtype).t())).to(up.dtype).mul_(ctx.scale)
        db = column_sum(dy).to(dy.dtype) if needs[2] else None
        return dx, None, db, d_down, d_up, None


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


class LowRankConvFunction(StoringFunction):
    """low_rank_conv with x, weight and bias of one dtype. Saves x where down or up are trained.

    The products of low rank are added into y and dx, so that nothing as wide is made beside them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
        stride: tuple[int, int],
    ) -> Tensor:
        trains = ctx.needs_input_grad[3] or ctx.needs_input_grad[4]
        ctx.save_for_backward(x if trains else None, weight, down, up)
        ctx.scale, ctx.stride, ctx.shape = scale, stride, x.shape
        y, low = F.conv2d(x, weight, bias, stride), F.conv2d(x, down.to(x.dtype), None, stride)
        _add_product(y, up.to(y.dtype).flatten(1), low, scale)
        return y

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, down, up = ctx.saved_tensors
        needs, stride = ctx.needs_input_grad, ctx.stride
        narrow_down, narrow_up = down.to(dy.dtype), up.to(dy.dtype)
        d_low = conv2d_input((len(dy), len(down), *dy.shape[2:]), narrow_up, dy)
        dx = d_down = d_up = None
        if needs[0]:
            dx = conv2d_input(ctx.shape, weight.to(dy.dtype), dy, stride)
            _add_product(dx[:, :, :: stride[0], :: stride[1]], narrow_down.flatten(1).t(), d_low, ctx.scale)
        if needs[3]:
            d_down = conv2d_weight(x, down.shape, d_low, stride).to(down.dtype).mul_(ctx.scale)
        if needs[4]:
            low = F.conv2d(x, narrow_down, None, stride)
            d_up = conv2d_weight(low, up.shape, dy).to(up.dtype).mul_(ctx.scale)
        db = channel_sum(dy).to(dy.dtype) if needs[2] else None
        return dx, None, db, d_down, d_up, None, None


def _add_product(y: Tensor, matrix: Tensor, x: Tensor, scale: float) -> None:
    """y += scale * matrix x at every pixel, in place. y: [B, M, H, W], matrix: [M, r], x: [B, r, H, W]."""
    if y.is_contiguous():
        y.flatten(2).baddbmm_(matrix.expand(len(x), -1, -1), x.flatten(2), alpha=scale)
    elif y.is_contiguous(memory_format=torch.channels_last):
        _rows(y.permute(0, 2, 3, 1)).addmm_(_rows(x.permute(0, 2, 3, 1)), matrix.t(), alpha=scale)
    else:  # the pixels that a stride leaves
        y.add_((matrix @ x.flatten(2)).view(y.shape), alpha=scale)


class LowRank(Operator):
    """A layer with LoRA: its input is coded by the hook, its weights are not."""

    knows = frozenset({"x", "weight", "bias", "down", "up", "scale", "stride"})
    operands = ("x", "weight", "bias", "down", "up")
    packs = False
    is_roundable = True

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact, or codes of 2 to 8 bits of the input."""
        return (Storage.EXACT, *HOOKED_CODES)

    def listed(self, given: dict[str, Any]) -> Tensor | None:
        """The input."""
        x: Tensor = given["x"]
        return x

    def run(self, call: Call) -> Any:
        """The operator itself: what it saves is coded as it is saved."""
        call.site.exact_shapes = tuple(tuple(call.given[name].shape) for name in ("weight", "down", "up"))
        return call.stock()


LOW_RANK_LINEAR = LowRank("low_rank_linear", low_rank_linear)
LOW_RANK_CONV = LowRank("low_rank_conv", low_rank_conv)
