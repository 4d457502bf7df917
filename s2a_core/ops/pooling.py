"""Pooling that keeps offsets inside the window (max) or nothing (average), both with exact gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2a_core import kernels


class MaxPoolFunction(torch.autograd.Function):
    """max_pool2d. x: [B, C, H, W]. Saves the offset of the maximum in its window, 4 bits for windows up to 16."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        ceil_mode: bool,
    ) -> Tensor:
        y, payload = kernels.maxpool2d_fwd(x, kernel, stride, padding, dilation, ceil_mode)
        ctx.save_for_backward(payload)
        ctx.shape, ctx.options = tuple(x.shape), (kernel, stride, padding, dilation)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (payload,) = ctx.saved_tensors
        return kernels.maxpool2d_bwd(dy, payload, ctx.shape, *ctx.options), None, None, None, None, None


class AvgPoolFunction(torch.autograd.Function):
    """avg_pool2d. x: [B, C, H, W]. Saves nothing: the gradient depends on shapes alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, options: tuple[Any, ...]) -> Tensor:
        ctx.shape, ctx.options = tuple(x.shape), options
        return torch.nn.functional.avg_pool2d(x, *options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        kernel, stride, padding, ceil_mode, count_include_pad, divisor = ctx.options
        shape_only = dy.new_empty(1).expand(ctx.shape)
        dx = torch.ops.aten.avg_pool2d_backward(
            dy.contiguous(), shape_only, kernel, stride or kernel, padding, ceil_mode, count_include_pad, divisor
        )
        return dx, None
