"""Frozen convolution: exact gradients in one, two and three dimensions, its input not kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from s2a_core.operators.convolution import FrozenConvFunction
from tests.assertions import assert_close
from tests.fakegpu.double import FakeDevices

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


HELD = """
import json, torch, torch.nn.functional as F
from torch import nn
from s2a_core.compression import compress
from s2a_core.storage import Storage, StoragePolicy

def held(storage, bias):
    model = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=bias)).cuda().to(torch.bfloat16)
    model.requires_grad_(False)
    if bias:
        model[0].bias.requires_grad_(True)
    session = compress(model, StoragePolicy({"0:conv": storage, "x:block": Storage.NONE}))
    x = torch.randn(2, 16, 64, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    bytes_held = []
    with session:
        for _ in range(2):
            before = torch.cuda.memory_allocated()
            y = model(x.sin())
            bytes_held.append(torch.cuda.memory_allocated() - before - y.nbytes)
            y.backward(torch.ones_like(y))
            bytes_held.append(x.grad.shape == x.shape)
            del y
            x.grad = None
    return bytes_held

print(json.dumps([held(Storage.NONE, False), held(Storage.NONE, True), held(Storage.EXACT, False)]))
"""


@pytest.mark.fakegpu
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_on_cuda_the_input_of_a_frozen_convolution_is_not_kept_with_a_bias_or_without(
    fake_devices: Callable[..., FakeDevices],
) -> None:
    outcome = fake_devices().python(HELD, timeout_s=600)
    assert outcome.returncode == 0, outcome.stderr
    one_input = 2 * 16 * 64 * 64 * 2
    without, with_bias, exact = outcome.document
    assert without == with_bias == [0, True, 0, True]
    assert exact == [one_input, True, one_input, True]
