"""Dropout that keeps one bit an element instead of a byte."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from s2a_core import kernels
from s2a_core.operators.call import Call, Intent, check_packable
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.operator import Operator
from s2a_core.storage import Storage


class DropoutFunction(StoringFunction):
    """y = x * keep / (1 - p) with keep ~ Bernoulli(1 - p) from the device's generator. Saves ceil(numel / 8) bytes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        y, payload = kernels.dropout_fwd(x, p)
        ctx.save_for_backward(payload)
        ctx.p = p
        return y

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (payload,) = ctx.saved_tensors
        return kernels.dropout_bwd(dy, payload, ctx.p), None


class Dropout(Operator):
    """Dropout; nothing at all where nothing is dropped."""

    knows = frozenset({"input", "p", "training", "inplace"})

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact as stock keeps it, or exact by one bit."""
        return (Storage.EXACT, Storage.MASK)

    def saves(self, given: dict[str, Any]) -> bool:
        """Whether something is dropped out of place, and autograd would save what."""
        drops = given["training"] and given["p"] != 0.0
        return bool(drops and not given["inplace"] and super().saves(given))

    def without_gradient(self, call: Call) -> Any:
        """x itself where nothing is dropped."""
        if not call.given["training"] or call.given["p"] == 0.0:
            return call.given["input"]
        return call.stock()

    def run(self, call: Call) -> Any:
        """Stock, or with one bit an element."""
        if call.site.storage is Storage.EXACT:
            return call.stock()
        x = call.given["input"]
        check_packable(call.site.name, x)
        call.site.storage, call.site.intent = Storage.MASK, Intent.CODES
        return DropoutFunction.apply(x, float(call.given["p"]))


DROPOUT = Dropout("dropout", F.dropout)
