"""Batch normalisation with frozen statistics and a frozen scale: a per-channel scale that keeps no activation.

And who normalises by the batch at hand instead: there a sample's output depends on the others beside it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2a_core.operators.call import Call, Intent
from s2a_core.operators.dtypes import wide
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.operator import HOOKED_CODES, Operator
from s2a_core.storage import Storage


def batch_norms(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Every BatchNorm inside a module."""
    return [inner for inner in module.modules() if isinstance(inner, nn.modules.batchnorm._BatchNorm)]


def uses_batch_statistics(norms: Iterable[nn.modules.batchnorm._BatchNorm]) -> bool:
    """Whether one of them normalises by its batch, as one in training mode does: chunks would change it."""
    return any(norm.training or norm.running_mean is None for norm in norms)


@functools.lru_cache(maxsize=64)
def _nothing(dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor without elements or memory."""
    return torch.empty(0, dtype=dtype, device=device)


class FrozenBatchNormFunction(StoringFunction):
    """y = x * scale + shift, scale = weight / sqrt(var + eps), shift = bias - mean * scale. Saves weight and var [C].

    x: [B, C, ...]. bias [C] may be trainable: its gradient is the sum of dy. The output has x's dtype. Backward is
    stock's, whose gradients of x and bias do not read x where statistics are frozen: it is given dy in its place.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        ctx.save_for_backward(weight, mean, var)
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        weight, mean, var = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[0], False, ctx.needs_input_grad[4]]
        of_batch = _nothing(mean.dtype, mean.device)  # statistics that a frozen norm has not; CUDA insists on tensors
        dx, _, db = torch.ops.aten.native_batch_norm_backward.default(
            dy, dy, weight, mean, var, of_batch, of_batch, False, ctx.eps, wanted
        )
        return dx, None, None, None, db, None


class BatchNorm(Operator):
    """Batch normalisation: nothing is saved where statistics and scale are frozen."""

    knows = frozenset({"input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"})
    operands = ("input", "weight", "bias")
    packs = False
    is_roundable = True

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Of a frozen one: exact, or nothing."""
        return (Storage.EXACT, Storage.NONE)

    def bind(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """Its arguments, scale and shift in a dtype that stock takes beside the statistics."""
        given = super().bind(func, args, kwargs)
        if given is not None:
            mean = given["running_mean"]
            given["weight"], given["bias"] = wide(given["weight"], mean), wide(given["bias"], mean)
        return given

    def offered(self, given: dict[str, Any]) -> tuple[Storage, ...]:
        """Nothing where it is frozen; codes of the input where it is not."""
        return self.storages if _is_frozen(given) else (Storage.EXACT, *HOOKED_CODES)

    def without_gradient(self, call: Call) -> Any:
        """Stock with matched dtypes."""
        return call.func(**call.given)

    def prepared(self, call: Call) -> Callable[[Tensor], Any] | None:
        """The scale of each channel alone."""
        given = call.given
        if not _is_frozen(given) or call.site.storage is Storage.EXACT:
            return None
        call.site.storage, call.site.intent = Storage.NONE, Intent.FROZEN_STATISTICS
        operands = tuple(given[name] for name in ("running_mean", "running_var", "weight", "bias", "eps"))
        return lambda x: FrozenBatchNormFunction.apply(x, *operands)

    def run(self, call: Call) -> Any:
        """Stock, or with nothing saved but scales."""
        run = self.prepared(call)
        return call.func(**call.given) if run is None else run(call.given["input"])


def _is_frozen(given: dict[str, Any]) -> bool:
    weight = given["weight"]
    return not given["training"] and (weight is None or not weight.requires_grad)


BATCH_NORM = BatchNorm("batch_norm", F.batch_norm)
