"""Layer and RMS normalisation that keep x̂ in b bits and 1/std, instead of their input in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2a_core import kernels
from s2a_core.ops.packed import PackedShape, decode, encode


@dataclass(frozen=True)
class NormCall:
    """One call of a norm over the last dimension. Holds no activation."""

    kind: str  # layer_norm | rms_norm
    eps: float
    weight: Tensor | None
    bias: Tensor | None
    site: str

    @property
    def subtracts_mean(self) -> bool:
        """LayerNorm centres, RMSNorm does not."""
        return self.kind == "layer_norm"

    def affine(self, normalized: Tensor, dtype: torch.dtype) -> Tensor:
        """x̂ * weight + bias in the dtype of the module's output."""
        y = normalized
        if self.weight is not None:
            y = y * self.weight.to(y.dtype)
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        return y.to(dtype)


def input_gradient(grad_normalized: Tensor, normalized: Tensor, rstd: Tensor, subtracts_mean: bool) -> Tensor:
    """dx = rstd * (g - mean(g) - x̂ * mean(g * x̂)), means over channels; the mean of g only where x was centred.

    grad_normalized g, normalized x̂: [..., C]; rstd: [..., 1]. The result has g's dtype.
    """
    g = grad_normalized.float() if grad_normalized.dtype != rstd.dtype else grad_normalized
    xhat = normalized.to(g.dtype)
    projection = (g * xhat).mean(-1, keepdim=True)
    out = torch.addcmul(g, xhat, projection, value=-1)
    if subtracts_mean:
        out -= g.mean(-1, keepdim=True)
    out *= rstd
    return out.to(grad_normalized.dtype)


class NormFunction(torch.autograd.Function):
    """y = norm(x) * weight + bias over the last dimension. Saves x̂ at b bits and rstd in fp32.

    x: [..., C]. Gradients of weight and bias come from the same x̂ (MS-LN, Yang et al. 2024, keeps it whole).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, call: NormCall, bits: int, seed: int | None
    ) -> Tensor:
        normalized, rstd = kernels.normalize(x, call.eps, call.subtracts_mean)
        payload, packed = encode(normalized.to(x.dtype), bits, "tokens", seed)
        ctx.save_for_backward(payload, rstd, weight)
        ctx.packed, ctx.subtracts_mean, ctx.has_bias = packed, call.subtracts_mean, bias is not None
        return call.affine(normalized, x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        payload, rstd, weight = ctx.saved_tensors
        rows = tuple(range(dy.dim() - 1))
        db = dy.sum(rows, dtype=torch.float32) if ctx.has_bias and ctx.needs_input_grad[2] else None
        dx = dw = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            normalized = decode(payload, ctx.packed)
            if weight is not None and ctx.needs_input_grad[1]:
                dw = (dy * normalized).sum(rows, dtype=torch.float32)
            if ctx.needs_input_grad[0]:
                g = dy if weight is None else dy * weight.to(dy.dtype)
                dx = input_gradient(g, normalized, rstd, ctx.subtracts_mean)
        return dx, dw, db, None, None, None


def packed_norm(x: Tensor, call: NormCall, bits: int, seed: int | None = None) -> Tensor:
    """The norm `call` describes, kept at `bits` bits. x: [..., C]; returns x's dtype."""
    result: Tensor = NormFunction.apply(x, call.weight, call.bias, call, bits, seed)
    return result


__all__ = ["NormCall", "NormFunction", "PackedShape", "input_gradient", "packed_norm"]
