"""Activations whose backward reads a few bits: a table index, or an exact mask for piecewise linear ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2a_core import kernels
from s2a_core.kernels import DerivativeTable


class ActivationFunction(torch.autograd.Function):
    """y = f(x), dx ~= dy * levels[code(x)]. x: any shape, floating. Saves ceil(numel * bits / 8) bytes.

    The code is the interval of x between the table's borders, so f' is never evaluated (Few-Bit backward,
    Novikov et al. 2022, with borders fitted per layer).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, name: str, table: DerivativeTable) -> Tensor:
        y, codes = kernels.act_fwd(x, name, table)
        ctx.save_for_backward(codes)
        ctx.table = table
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        (codes,) = ctx.saved_tensors
        return kernels.act_bwd(dy, codes, ctx.table), None, None


class MaskedFunction(torch.autograd.Function):
    """Piecewise linear f with an exact gradient. Saves 1 bit an element, 2 where f has three pieces.

    name: relu, relu6, hardtanh, leaky_relu, hardsigmoid; params: bounds or slope, as `kernels.mask_fwd` takes them.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, name: str, params: tuple[float, ...], inplace: bool) -> Tensor:
        y, payload = kernels.mask_fwd(x, name, params, inplace)
        ctx.save_for_backward(payload)
        ctx.name, ctx.params = name, params
        if inplace:
            ctx.mark_dirty(x)
            return x
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:
        (payload,) = ctx.saved_tensors
        return kernels.mask_bwd(dy, payload, ctx.name, ctx.params), None, None, None
