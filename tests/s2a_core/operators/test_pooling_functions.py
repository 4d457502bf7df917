"""Pooling: exact gradients from offsets or from shapes alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from s2a_core.operators.pooling import AvgPoolFunction, MaxPoolFunction
from tests.assertions import assert_close


def test_max_pool_gradient_is_exact_with_padding_and_ceil_mode() -> None:
    x = torch.randn(2, 3, 9, 11, requires_grad=True)
    for ceil_mode in (False, True):
        stock = F.max_pool2d(x, (3, 3), (2, 2), (1, 1), (1, 1), ceil_mode)
        y = MaxPoolFunction.apply(x, (3, 3), (2, 2), (1, 1), (1, 1), ceil_mode)
        assert torch.equal(y, stock)
        dy = torch.randn_like(stock)
        assert_close(torch.autograd.grad(y, x, dy)[0], torch.autograd.grad(stock, x, dy)[0], rel=1e-6)


def test_average_pool_keeps_nothing_and_is_exact() -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = AvgPoolFunction.apply(x, ((2, 2), (2, 2), (0, 0), False, True, None))
    assert saved == []
    stock = F.avg_pool2d(x, 2)
    dy = torch.randn_like(stock)
    assert_close(torch.autograd.grad(y, x, dy)[0], torch.autograd.grad(stock, x, dy)[0], rel=1e-6)
