"""Linear layers: with a frozen weight stock saves no input; with a trained one the hook codes it."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F

from s2a_core.operators.call import Call, Intent
from s2a_core.operators.dtypes import matched
from s2a_core.operators.operator import HOOKED_CODES, Operator
from s2a_core.storage import Storage


class Linear(Operator):
    """F.linear: a trained weight's input may be coded, the weight itself never is."""

    knows = frozenset({"input", "weight", "bias"})
    operands = ("input", "weight", "bias")
    packs = False
    is_roundable = True

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact, or codes of 2 to 8 bits of the input."""
        return (Storage.EXACT, *HOOKED_CODES)

    def bind(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """Its arguments, operands in one dtype."""
        given = super().bind(func, args, kwargs)
        if given is not None:
            operands = matched(given["input"], given["weight"], given["bias"])
            given["input"], given["weight"], given["bias"] = operands
        return given

    def listed(self, given: dict[str, Any]) -> Any:
        """The input of a trained weight."""
        return given["input"] if given["weight"].requires_grad else None

    def without_gradient(self, call: Call) -> Any:
        """Stock with matched dtypes."""
        return call.func(call.given["input"], call.given["weight"], call.given["bias"])

    def run(self, call: Call) -> Any:
        """Stock with matched dtypes."""
        weight, site = call.given["weight"], call.site
        if weight.requires_grad:
            site.exact_shapes = (tuple(weight.shape), tuple(weight.shape[::-1]))
        else:
            site.storage, site.intent = Storage.EXACT, Intent.FROZEN_WEIGHT
        return self.without_gradient(call)


LINEAR = Linear("linear", F.linear)
