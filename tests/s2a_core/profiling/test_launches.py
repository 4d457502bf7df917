"""Launches are operators with a kernel: views and empty memory are none, the backward pass is in it."""

from __future__ import annotations

import torch

from s2a_core.profiling.launches import LaunchCounter


def test_operators_count_once_forward_and_backward_and_views_not_at_all() -> None:
    x, w = torch.randn(4, 8), torch.randn(8, 8, requires_grad=True)
    with LaunchCounter() as counter:
        y = (x.view(2, 2, 8).flatten(0, 1) @ w).relu()  # two
    assert counter.launches == 2
    with counter:
        y.detach()
        y.sum().backward()  # the sum, its gradient of ones, ReLU's and the product's
    assert counter.launches == 2 + 4


def test_nothing_is_counted_outside() -> None:
    with LaunchCounter() as counter:
        pass
    torch.ones(3).add_(1)
    assert counter.launches == 0
