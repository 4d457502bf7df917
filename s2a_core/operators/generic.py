"""Operators without a format of their own: the saved-tensor hook codes what stock PyTorch saves in them.

Their gradients are linear in what they save, or smooth in it, so that a code's error stays in proportion. Others
compare (amax, where) or divide by it (div, sqrt): a rounded value gives them NaN. What is not declared is kept exact.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.operators.call import Call, saves_tensors
from s2a_core.operators.dtypes import wide
from s2a_core.operators.operator import HOOKED_CODES, Operator
from s2a_core.storage import Storage


class Hooked(Operator):
    """A stock operator. Declared without functions, it is coded under a site without a counter."""

    packs = False
    is_roundable = True

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Exact, or codes of 2 to 8 bits."""
        return (Storage.EXACT, *HOOKED_CODES)

    def bind(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """The tensors among the arguments: the call runs as it is, whatever the others are."""
        return {"tensors": [a for a in args if isinstance(a, Tensor)]}

    def saves(self, given: dict[str, Any]) -> bool:
        """Whether autograd would save anything."""
        return saves_tensors(*given["tensors"])

    def listed(self, given: dict[str, Any]) -> Tensor | None:
        """The first tensor."""
        tensors: list[Tensor] = given["tensors"]
        return tensors[0] if tensors else None

    def run(self, call: Call) -> Any:
        """Stock."""
        return call.stock()


class Product(Hooked):
    """A product of two operands, each saved where the other one needs a gradient."""

    def listed(self, given: dict[str, Any]) -> Tensor | None:
        """The larger operand whose partner needs a gradient, and which is no parameter."""
        tensors: list[Tensor] = given["tensors"]
        if len(tensors) < 2:
            return tensors[0]
        pairs = (tensors[:2], tensors[1::-1])
        saved = [a for a, b in pairs if b.requires_grad and not (a.is_leaf and a.requires_grad)]
        return max(saved, key=Tensor.numel, default=None)


class Elementwise(Product):
    """A product in which a number saves nothing."""

    def saves(self, given: dict[str, Any]) -> bool:
        """Whether two tensors are multiplied, and one needs a gradient."""
        return len(given["tensors"]) > 1 and super().saves(given)


class GroupNorm(Hooked):
    """Group normalisation. Scales and shifts narrower than its input run in fp32, as stock takes them."""

    knows = frozenset({"input", "num_groups", "weight", "bias", "eps"})

    def bind(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
        """Its arguments by name."""
        given = Operator.bind(self, func, args, kwargs)
        if given is not None:
            given.update(weight=wide(given["weight"]), bias=wide(given["bias"]))
            given["tensors"] = [given[n] for n in ("input", "weight", "bias") if given[n] is not None]
        return given

    def run(self, call: Call) -> Any:
        """Stock."""
        given = call.given
        return call.func(given["input"], given["num_groups"], given["weight"], given["bias"], given["eps"])

    without_gradient = run


MATMUL = Product(
    "matmul", torch.matmul, Tensor.matmul, Tensor.__matmul__, spellings=("__matmul__", "__rmatmul__")
)  # fmt: skip
BMM = Product("bmm", torch.bmm, Tensor.bmm)
MUL = Elementwise(
    "mul", torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__,
    spellings=("__mul__", "__rmul__", "__imul__", "mul_", "multiply"),
)  # fmt: skip
GLU = Hooked("glu", F.glu)  # its gradient is linear in one half of its input and smooth in the other
SOFTMAX = Hooked("softmax", F.softmax, torch.softmax, Tensor.softmax)
NORMALIZE = Hooked("normalize", F.normalize)
GROUP_NORM = GroupNorm("group_norm", F.group_norm)
ADDCMUL = Hooked("addcmul")
ADDMM = Hooked("addmm")
BADDBMM = Hooked("baddbmm")
EINSUM = Hooked("einsum")
EXP = Hooked("exp")
GRID_SAMPLE = Hooked("grid_sample")
INSTANCE_NORM = Hooked("instance_norm")
INTERPOLATE = Hooked("interpolate")
