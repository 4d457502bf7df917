"""Convolution with a frozen weight: stock PyTorch keeps its input even so, this keeps none of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv1d_input, conv2d_input, conv3d_input

_CONVOLUTIONS = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}
_INPUT_GRADIENTS: dict[int, Any] = {1: conv1d_input, 2: conv2d_input, 3: conv3d_input}


class FrozenConvFunction(torch.autograd.Function):
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
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        dx = None
        if ctx.needs_input_grad[0]:
            dx = _INPUT_GRADIENTS[dy.dim() - 2](ctx.shape, weight.to(dy.dtype), dy, *ctx.options)
        db = None
        if ctx.needs_input_grad[2]:
            db = dy.sum([d for d in range(dy.dim()) if d != 1], dtype=torch.float32)
        return dx, None, db, None, None, None, None
