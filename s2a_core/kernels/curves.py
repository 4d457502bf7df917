"""A smooth activation as the kernels need it: its name, itself and its derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Curve:
    """y = function(x), dy/dx = derivative(x), both elementwise and in the precision of x.

    name: of the branch of `triton_kernels.activation._evaluate` that computes it, where there is one.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
