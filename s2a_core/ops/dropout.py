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
        y, payload = kernels.dropout_fwd(x, p)
        ctx.save_for_backward(payload)
        ctx.p = p
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (payload,) = ctx.saved_tensors
        return kernels.dropout_bwd(dy, payload, ctx.p), None
