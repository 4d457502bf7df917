"""Batch normalisation with frozen statistics and a frozen scale: a per-channel scale that keeps no activation.

And who normalises by the batch at hand instead: there a sample's output depends on the others beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether a BatchNorm inside normalises by its batch, as one in training mode does: chunks would change it."""
    norms = (inner for inner in module.modules() if isinstance(inner, nn.modules.batchnorm._BatchNorm))
    return any(norm.training or norm.running_mean is None for norm in norms)


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """values [C] shaped to broadcast over like [B, C, ...], in like's dtype."""
    return values.to(like.dtype).reshape(1, -1, *([1] * (like.dim() - 2)))


class FrozenBatchNormFunction(torch.autograd.Function):
    """y = x * scale + shift, scale = weight / sqrt(var + eps), shift = bias - mean * scale. Saves scale [C] only.

    x: [B, C, ...]. bias [C] may be trainable: its gradient is the sum of dy. The output has x's dtype.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        scale = torch.rsqrt(var.float() + eps)
        if weight is not None:
            scale = scale * weight.float()
        ctx.save_for_backward(scale)
        return torch.nn.functional.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = ctx.saved_tensors
        dx = dy * per_channel(scale, dy) if ctx.needs_input_grad[0] else None
        dims = [d for d in range(dy.dim()) if d != 1]
        db = dy.sum(dims, dtype=torch.float32) if ctx.needs_input_grad[4] else None
        return dx, None, None, None, db, None
