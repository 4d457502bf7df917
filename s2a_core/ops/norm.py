"""Layer and RMS normalisation that keep x̂ in b bits and 1/std, instead of their input in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from s2a_core import kernels


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

    @torch.no_grad()
    def affine_(self, normalized: Tensor) -> Tensor:
        """x̂ * weight + bias, written over x̂."""
        if self.weight is not None and self.bias is not None:
            weight, bias = self.weight.to(normalized.dtype), self.bias.to(normalized.dtype)
            return torch.addcmul(bias, normalized, weight, out=normalized)
        if self.weight is not None:
            normalized *= self.weight.to(normalized.dtype)
        if self.bias is not None:
            normalized += self.bias.to(normalized.dtype)
        return normalized


class NormFunction(torch.autograd.Function):
    """y = norm(x) * weight + bias over the last dimension. Saves x̂ at b bits and rstd in fp32.

    x: [..., C]. Gradients of weight and bias come from the same x̂ (MS-LN, Yang et al. 2024, keeps it whole).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, call: NormCall, bits: int, tokens: int
    ) -> Tensor:
        y, payload, rstd = kernels.norm_fwd(x, weight, bias, call.eps, bits, tokens, call.subtracts_mean)
        ctx.save_for_backward(payload, rstd, weight)
        ctx.grouped = (x.numel() // max(tokens * x.shape[-1], 1), tokens, x.shape[-1])
        ctx.bits, ctx.subtracts_mean = bits, call.subtracts_mean
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        payload, rstd, weight = ctx.saved_tensors
        if not (ctx.needs_input_grad[0] or ctx.needs_input_grad[1]):
            return None, None, dy.sum(tuple(range(dy.dim() - 1)), dtype=torch.float32), None, None, None
        dx, dw, db = kernels.norm_bwd(
            dy, payload, rstd, weight, ctx.grouped, ctx.bits, ctx.subtracts_mean, bool(ctx.needs_input_grad[1])
        )
        return dx, dw, db if ctx.needs_input_grad[2] else None, None, None, None


def packed_norm(x: Tensor, call: NormCall, bits: int, tokens: int) -> Tensor:
    """The norm `call` describes, kept at `bits` bits, `tokens` rows to a group. x: [..., C]; returns x's dtype."""
    result: Tensor = NormFunction.apply(x, call.weight, call.bias, call, bits, tokens)
    return result
