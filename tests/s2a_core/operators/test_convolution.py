"""Frozen convolution: exact gradients in one, two and three dimensions, its input not kept."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from s2a_core.operators.convolution import FrozenConvFunction
from tests.assertions import assert_close

_STOCK = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_of_input_and_bias_are_exact(dims: int, groups: int) -> None:
    x = torch.randn(2, 4, *[7] * dims, requires_grad=True)
    weight, bias = torch.randn(6, 4 // groups, *[3] * dims), torch.randn(6, requires_grad=True)
    options = ((2,) * dims, (1,) * dims, (1,) * dims, groups)
    stock = _STOCK[dims](x, weight, bias, *options)
    y = FrozenConvFunction.apply(x, weight, bias, *options)
    assert torch.equal(y, stock)
    dy = torch.randn_like(stock)
    for got, expected in zip(
        torch.autograd.grad(y, (x, bias), dy), torch.autograd.grad(stock, (x, bias), dy), strict=True
    ):
        assert_close(got, expected, rel=1e-6)


def test_the_input_is_freed() -> None:
    saved: list[torch.Tensor] = []
    x, weight = torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(4, 4, 3, 3)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        FrozenConvFunction.apply(x, weight, None, (1, 1), (1, 1), (1, 1), 1)
    assert [t.data_ptr() for t in saved] == [weight.data_ptr()]
