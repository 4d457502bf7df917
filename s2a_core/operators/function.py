"""What the autograd functions of our operators share: they are called, and run backward, at little cost to the host."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class StoringFunction(Function):
    """An autograd function of ours. It is given values: sessions need not look for pending norms in its arguments."""

    apply = Function.__dict__["apply"]  # stock's, also where a session puts its own into `Function`


def differentiable_once(backward: Callable[..., Any]) -> Callable[..., Any]:
    """`once_differentiable` without its cost, a fifth of a small backward, where nobody records the gradients."""
    guarded = once_differentiable(backward)

    @functools.wraps(backward)
    def run(ctx: Any, *gradients: Any) -> Any:
        return guarded(ctx, *gradients) if torch.is_grad_enabled() else backward(ctx, *gradients)

    return run
