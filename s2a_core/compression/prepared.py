"""Calls of modules that make a single one, prepared in one forward pass for the later ones like it.

What a call does follows from the plan, the module and its input's shape and dtype. Where those are as they were, the
operator's autograd function is called at once: no arguments are bound, no site is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from s2a_core.operators import Call, Operator
from s2a_core.operators.writes import may_write


class PreparedCall:
    """The call of one module. run: makes it, of the input alone; writes: whether it may change the input in place."""

    __slots__ = ("_dtype", "_is_training", "_module", "_needs_gradient", "_operands", "_shape", "run", "writes")

    def __init__(self, module: nn.Module, call: Call, run: Callable[[Tensor], Any]) -> None:
        x: Tensor = call.given["input"]
        self.run, self.writes = run, may_write(call.func, call.args, call.kwargs)
        self._module, self._is_training = module, module.training
        self._shape, self._dtype, self._needs_gradient = x.shape, x.dtype, x.requires_grad
        used = {id(value) for value in call.given.values()}
        self._operands = [
            (tensors, name, tensor, tensor.requires_grad)
            for tensors in (module._parameters, module._buffers)
            for name, tensor in tensors.items()
            if tensor is not None and id(tensor) in used
        ]

    def fits(self, x: Tensor) -> bool:
        """Whether the module and its input are as they were."""
        if x.shape != self._shape or x.dtype is not self._dtype or x.requires_grad is not self._needs_gradient:
            return False
        if self._module.training is not self._is_training:
            return False
        for tensors, name, tensor, needs_gradient in self._operands:
            if tensors[name] is not tensor or tensor.requires_grad is not needs_gradient:
                return False
        return True


def prepared(module: nn.Module, operator: Operator, call: Call) -> PreparedCall | None:
    """The call for later passes; None where each call has to be looked at again.

    Tensors that were made for this call, as a scale in another dtype, are of this step alone.
    """
    run = operator.prepared(call)
    if run is None:
        return None
    own = {id(t) for t in (*module._parameters.values(), *module._buffers.values())}
    beside = (value for name, value in call.given.items() if name != "input" and isinstance(value, Tensor))
    return PreparedCall(module, call, run) if all(id(tensor) in own for tensor in beside) else None
