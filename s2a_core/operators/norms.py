"""Layer and RMS normalisation that keep x̂ in b bits and 1/std, instead of their input in full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core import kernels
from s2a_core.kernels.sums import column_sum
from s2a_core.operators.call import (
    Call,
    Intent,
    Site,
    autocast_enabled,
    check_packable,
    rows_per_sample,
    saves_tensors,
)
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.operator import HOOKED_CODES, Operator
from s2a_core.operators.stock import layer_norm, loses_bias_gradient
from s2a_core.storage import Storage


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


class NormFunction(StoringFunction):
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
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        payload, rstd, weight = ctx.saved_tensors
        if not (ctx.needs_input_grad[0] or ctx.needs_input_grad[1]):
            return None, None, column_sum(dy.flatten(0, -2)), None, None, None
        dx, dw, db = kernels.norm_bwd(
            dy, payload, rstd, weight, ctx.grouped, ctx.bits, ctx.subtracts_mean, bool(ctx.needs_input_grad[1])
        )
        return dx, dw, db if ctx.needs_input_grad[2] else None, None, None, None


def packed_norm(x: Tensor, call: NormCall, bits: int, tokens: int) -> Tensor:
    """The norm `call` describes, kept at `bits` bits, `tokens` rows to a group. x: [..., C]; returns x's dtype."""
    result: Tensor = NormFunction.apply(x, call.weight, call.bias, call, bits, tokens)
    return result


class Norm(Operator):
    """Layer or RMS normalisation of the last dimension. An interceptor may defer it, so that a region can absorb it."""

    knows = frozenset({"input", "normalized_shape", "weight", "bias", "eps"})
    operands = ("input", "weight", "bias")
    is_roundable = True

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact, or x̂ in 2 to 8 bits."""
        return (Storage.EXACT, *HOOKED_CODES)

    def bind(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """Its arguments; None for a norm of several dimensions."""
        given = super().bind(func, args, kwargs)
        if given is None or len(given["normalized_shape"]) != 1 or given["input"].dim() < 2:
            return None
        given.setdefault("bias", None)
        if given["eps"] is None:  # as stock, which normalises 16-bit inputs in fp32
            given["eps"] = torch.finfo(torch.promote_types(given["input"].dtype, torch.float32)).eps
        return given

    def norm_call(self, given: dict[str, Any], site: str) -> NormCall:
        """The norm as a value that can be evaluated later."""
        return NormCall(self.name, given["eps"], given["weight"], given["bias"], site)

    def prepared(self, call: Call) -> Callable[[Tensor], Any] | None:
        """With codes."""
        x, bits = call.given["input"], call.site.storage.bits
        if bits is None or not self.saves(call.given):
            return None
        norm, tokens = self.norm_call(call.given, call.site.name), rows_per_sample(x, call.batch)
        return lambda x: packed_norm(_without_rest(x), norm, bits, tokens)

    def run(self, call: Call) -> Any:
        """At the site's width."""
        return evaluate_norm(call.given["input"], self.norm_call(call.given, call.site.name), call.site, call.batch)

    without_gradient = run


def evaluate_norm(raw: Tensor, norm: NormCall, site: Site, batch: int) -> Tensor:
    """The norm of raw [..., C] under its site's storage. batch: samples of the model's input."""
    raw = _without_rest(raw)
    if site.storage.bits is None or not saves_tensors(raw, norm.weight, norm.bias):
        weight, bias = _operands(raw, norm)
        if norm.kind == "rms_norm":
            return F.rms_norm(raw, raw.shape[-1:], weight, norm.eps)
        return layer_norm(raw, raw.shape[-1:], weight, bias, norm.eps)
    check_packable(site.name, raw)
    site.intent = Intent.CODES
    return packed_norm(raw, norm, site.storage.bits, rows_per_sample(raw, batch))


def runs_as_stock(raw: Tensor, norm: NormCall) -> bool:
    """Whether `evaluate_norm` of an exact site is what the model wrote: no copy of raw, no cast, no detour."""
    weight, bias = _operands(raw, norm)
    is_detour = norm.kind == "layer_norm" and loses_bias_gradient(raw, raw.shape[-1:], weight, bias)
    return weight is norm.weight and bias is norm.bias and not _keeps_much_more_alive(raw) and not is_detour


def _without_rest(raw: Tensor) -> Tensor:
    """raw, as a copy where it would keep much more alive."""
    return raw.clone() if _keeps_much_more_alive(raw) else raw


def _keeps_much_more_alive(raw: Tensor) -> bool:
    """Whether raw is a few tokens picked from a map, which must not keep the whole of it alive."""
    return raw._is_view() and 2 * raw.numel() * raw.element_size() < raw.untyped_storage().nbytes()


def _operands(raw: Tensor, norm: NormCall) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias in one dtype: as they are where stock takes them, or autocast casts all to fp32, else raw's."""
    dtypes = {t.dtype for t in (norm.weight, norm.bias) if t is not None}
    is_cast = autocast_enabled(raw) and (raw.is_cuda or len(dtypes) == 1)
    if dtypes <= {raw.dtype} or is_cast:
        return norm.weight, norm.bias
    weight = None if norm.weight is None else norm.weight.to(raw.dtype)
    return weight, None if norm.bias is None else norm.bias.to(raw.dtype)


LAYER_NORM = Norm("layer_norm", F.layer_norm)
RMS_NORM = Norm("rms_norm", F.rms_norm)
