"""A frozen linear layer with a low-rank change (LoRA) as one operator."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import handle_torch_function, has_torch_function


def low_rank_linear(x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """y = x·Wᵀ + b + scale·(x·downᵀ)·upᵀ. x: [..., K], weight: [M, K] frozen, down: [r, K], up: [M, r]; y: [..., M].

    The product of low rank is added into y, so that nothing as wide as y is made beside it; what is kept is x.
    Source: LoRA (Hu et al. 2021).
    """
    operands = (x, weight, bias, down, up)
    if has_torch_function(operands):
        result: Tensor = handle_torch_function(low_rank_linear, operands, *operands, scale)
        return result
    autocasts = torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if autocasts else weight.dtype
    bias = None if bias is None else bias.to(dtype)
    y: Tensor = LowRankLinearFunction.apply(x.to(dtype), weight.to(dtype), bias, down, up, scale)
    return y.view(*x.shape[:-1], -1)


class LowRankLinearFunction(torch.autograd.Function):
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
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, down, up = ctx.saved_tensors
        needs = ctx.needs_input_grad
        low = dy @ up.to(dy.dtype)  # [rows, r]
        dx = d_down = d_up = None
        if needs[0]:
            dx = (dy @ weight).addmm_(low, down.to(dy.dtype), alpha=ctx.scale).view(ctx.shape)
        if needs[3]:
            d_down = (low.t() @ _rows(x)).to(down.dtype).mul_(ctx.scale)
        if needs[4]:
            d_up = (dy.t() @ (_rows(x) @ down.to(x.dtype).t())).to(up.dtype).mul_(ctx.scale)
        db = dy.sum(0, dtype=torch.float32).to(dy.dtype) if needs[2] else None
        return dx, None, db, d_down, d_up, None


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])
