"""Dropout that keeps one bit an element instead of a byte."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2a_core import kernels


class DropoutFunction(torch.autograd.Function):
    """y = x * keep / (1 - p) with keep ~ Bernoulli(1 - p) from the device's generator. Saves ceil(numel / 8) bytes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        y, keep = torch.native_dropout(x, p, True)
        ctx.save_for_backward(kernels.pack(keep.to(torch.uint8).reshape(-1), 1))
        ctx.scale, ctx.numel = (1.0 / (1.0 - p) if p < 1 else 0.0), x.numel()
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (packed,) = ctx.saved_tensors
        keep = kernels.unpack(packed, 1, ctx.numel).reshape(dy.shape)
        return dy * keep.to(dy.dtype).mul_(ctx.scale), None
