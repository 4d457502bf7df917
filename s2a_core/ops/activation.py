"""Activations whose backward reads a few bits: a table index, or an exact mask for piecewise linear ones.

Row 0 of each sample of a token map has a code of 8 bits beside the others': a class token lies there, and in the upper
half of a network nearly all of the gradient passes through that one row (DeiT-tiny: .04 of the squared gradient at the
first GELU, .51 at the fifth, .98 at the tenth). Cosine of all bias gradients on DeiT-tiny's weights and photos, GELU
coded at 2 / 3 / 4 bits by fitted tables: .957 / .991 / .997 with every row alike, .981 / .996 / .9989 with this. It
costs 8 / N bits an element of a map of N tokens. Weighting the fit by squared upstream gradients instead was no
better: .954 at 2 bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2a_core import kernels
from s2a_core.kernels import DerivativeTable, fit_table

FIRST_ROW_BITS = 8
FIRST_ROW_TOKENS = 32  # in smaller maps the finer row would cost more than a quarter of a bit an element


class ActivationFunction(torch.autograd.Function):
    """y = f(x), dx ~= dy * levels[code(x)]. x: any shape, floating. Saves ceil(numel * bits / 8) bytes.

    Of x [B, N, C] with N >= 32, B * C bytes more for row 0 of each sample.
    The code is the interval of x between the table's borders, so f' is never evaluated (Few-Bit backward,
    Novikov et al. 2022, with borders fitted per layer).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, name: str, table: DerivativeTable) -> Tensor:
        y, codes = kernels.act_fwd(x, name, table)
        ctx.table, ctx.finer, first = table, None, None
        if x.dim() == 3 and x.shape[1] >= FIRST_ROW_TOKENS and table.bits < FIRST_ROW_BITS:
            ctx.finer = fit_table(name, FIRST_ROW_BITS)
            first = kernels.act_fwd(x[:, 0], name, ctx.finer)[1]
        ctx.save_for_backward(codes, first)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        codes, first = ctx.saved_tensors
        dx = kernels.act_bwd(dy, codes, ctx.table)
        if first is not None:
            dx[:, 0] = kernels.act_bwd(dy[:, 0], first, ctx.finer)
        return dx, None, None


class MaskedFunction(torch.autograd.Function):
    """Piecewise linear f with an exact gradient. Saves 1 bit an element: the outer pieces share a slope.

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
