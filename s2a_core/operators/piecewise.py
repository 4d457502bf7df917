"""Piecewise linear activations: backward reads one bit an element, and its gradient is exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core import kernels
from s2a_core.operators.call import Call, Intent, check_packable
from s2a_core.operators.function import StoringFunction, differentiable_once
from s2a_core.operators.operator import Operator
from s2a_core.operators.writes import may_write
from s2a_core.storage import Storage


class MaskedFunction(StoringFunction):
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
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:
        (payload,) = ctx.saved_tensors
        return kernels.mask_bwd(dy, payload, ctx.name, ctx.params), None, None, None


class Piecewise(Operator):
    """A piecewise linear activation whose outer pieces share a slope. params: arguments that shape it, in order."""

    def __init__(self, name: str, *functions: Callable[..., Any], params: tuple[str, ...] = ()) -> None:
        super().__init__(name, *functions)
        self.params = params
        self.knows = frozenset({"input", "inplace", *params})

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact as stock keeps it, or exact by one bit."""
        return (Storage.EXACT, Storage.MASK)

    def prepared(self, call: Call) -> Callable[[Tensor], Any] | None:
        """f with one bit an element: codes of any width are no better."""
        if call.site.storage in (Storage.EXACT, Storage.NONE):
            return None
        check_packable(call.site.name, call.given["input"])
        call.site.storage, call.site.intent = Storage.MASK, Intent.CODES
        params = tuple(float(call.given[name]) for name in self.params)
        wants_inplace = may_write(call.func, call.args, call.kwargs)

        def run(x: Tensor) -> Any:
            if wants_inplace and (x._is_view() or x.is_leaf):
                return x.copy_(MaskedFunction.apply(x, self.name, params, False))
            return MaskedFunction.apply(x, self.name, params, wants_inplace)

        return run

    def run(self, call: Call) -> Any:
        """Stock, or with one bit an element."""
        run = self.prepared(call)
        return call.stock() if run is None else run(call.given["input"])


RELU = Piecewise("relu", F.relu, torch.relu, Tensor.relu, torch.relu_, Tensor.relu_)
RELU6 = Piecewise("relu6", F.relu6)
HARDTANH = Piecewise("hardtanh", F.hardtanh, params=("min_val", "max_val"))
LEAKY_RELU = Piecewise("leaky_relu", F.leaky_relu, params=("negative_slope",))
HARDSIGMOID = Piecewise("hardsigmoid", F.hardsigmoid)
