"""A model's own autograd.Function behind a norm: the same values and gradients."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import nn

from s2a_core.compression import compress
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return 2 * grad


def test_an_autograd_function_of_the_models_own_passes_the_gradient_on() -> None:
    class Doubles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            doubled: torch.Tensor = _Doubled.apply(self.norm(x))
            return doubled

    model, x = Doubles(), torch.randn(2, 5, 8, requires_grad=True)
    stock = torch.autograd.Function.apply
    expected = model(x)
    (gradient,) = torch.autograd.grad(expected.pow(2).sum(), x)
    with compress(model, StoragePolicy(sites={"any": Storage.B4})):
        y = model(x)
    assert_close(y, expected, rel=1e-6)
    assert_close(torch.autograd.grad(y.pow(2).sum(), x)[0], gradient, rel=1e-6)
    assert torch.autograd.Function.apply == stock


def test_sessions_that_overlap_in_two_threads_leave_autograd_as_it_was() -> None:
    stock = torch.autograd.Function.apply
    policy, opened, closed = StoragePolicy(sites={"any": Storage.B4}), threading.Event(), threading.Event()

    def second() -> None:
        with compress(nn.Sequential(nn.LayerNorm(4)), policy):
            opened.set()
            assert closed.wait(30)

    thread = threading.Thread(target=second)
    with compress(nn.Sequential(nn.LayerNorm(4)), policy):
        thread.start()
        assert opened.wait(30)
    closed.set()
    thread.join()
    assert torch.autograd.Function.apply == stock
