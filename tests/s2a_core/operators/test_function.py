"""Autograd functions of ours: stock's in all that matters, and without what costs the host."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from s2a_core.compression.functions import FunctionsSeeValues
from s2a_core.operators.function import StoringFunction, differentiable_once


class _Square(StoringFunction):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * dy


def test_a_second_differentiation_is_refused_as_stock_refuses_it() -> None:
    x = torch.randn(3, requires_grad=True)
    dy = torch.ones(3, requires_grad=True)
    (dx,) = torch.autograd.grad(_Square.apply(x), x, dy, create_graph=True)
    assert torch.equal(dx, 2 * x)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.sum().backward()


def test_a_session_leaves_its_call_alone() -> None:
    before = _Square.apply
    with FunctionsSeeValues():
        assert _Square.apply == before
        assert torch.autograd.Function.apply.__func__ is not before  # type: ignore[attr-defined]
    x = torch.randn(3, requires_grad=True)
    _Square.apply(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, 2 * x)
