"""Gradients summed over chunks: the values of one pass, whatever storages they share, and few bytes beside the sums."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2a_core.compression import compress, discover
from s2a_core.compression.discover import uniform_policy
from s2a_core.compression.totals import LARGE, GradientTotals
from s2a_core.meter import PeakMeter
from tests.assertions import assert_close
from tests.s2a_core.compression.models import gradients

CHUNKS = 4


class _AddedParameters(nn.Module):
    """Two weights that are added to each other, and one that is added to the output."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(size, size)), nn.Parameter(torch.randn(size, size))
        self.shift = nn.Parameter(torch.randn(3, size))

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.first + self.second) + self.shift


def test_parameters_whose_gradients_share_a_storage_have_sums_of_their_own() -> None:
    for size in (8, 256):  # below and at LARGE
        module = _AddedParameters(size)
        assert (module.first.numel() >= LARGE) == (size == 256)
        x, parameters = torch.randn(CHUNKS, 3, size), list(module.parameters())
        outer = torch.randn(CHUNKS, 3, size)
        expected = torch.autograd.grad(module(x), parameters, outer)
        totals, before = GradientTotals(parameters, 0, CHUNKS), outer.clone()
        with totals.adding_large():
            for i in range(CHUNKS):
                totals.add_chunk(torch.autograd.grad(module(x[i : i + 1])[0], parameters, outer[i]))
        for actual, exact in zip(totals.sums, expected, strict=True):
            assert actual is not None
            assert_close(actual, exact, rel=1e-5)
        assert torch.equal(outer, before)
        assert not any(p._backward_hooks for p in parameters)


def test_no_two_sets_of_large_gradients_are_alive() -> None:
    module = nn.Sequential(*(nn.Linear(512, 512, bias=False) for _ in range(4)))
    x, parameters, outer = torch.randn(CHUNKS, 1, 512), list(module.parameters()), torch.ones(1, 512)
    one = 4 * 512 * 512
    totals = GradientTotals(parameters, 0, CHUNKS)
    with PeakMeter() as meter, totals.adding_large():
        for row in x:
            totals.add_chunk(torch.autograd.grad(module(row), parameters, outer))
    assert len(parameters) * one <= meter.peak_bytes < (len(parameters) + 1.2) * one


def test_others_gradients_are_added_however_large_they_are() -> None:
    parameter = nn.Parameter(torch.randn(4))
    totals, large = GradientTotals([parameter], 1, 2), torch.ones(LARGE, dtype=torch.bfloat16)
    with totals.adding_large():
        for _ in range(2):
            totals.add_chunk([None, large])
    assert totals.sums[0] is None
    assert torch.equal(totals.sums[1], torch.full((LARGE,), 2.0))  # type: ignore[arg-type]


class _Mixing(nn.Module):
    """Trains two matrices as their sum, and a shift of one sample's shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden, self.shift = nn.Linear(width, width), nn.Parameter(torch.randn(1, 6, width))
        self.first, self.second = (nn.Parameter(torch.randn(width, width) / width**0.5) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = nn.functional.gelu(self.hidden(x)) @ (self.first + self.second) + self.shift
        return mixed


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem, self.norm, self.mlp = nn.Linear(8, width), nn.LayerNorm(width), _Mixing(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        added: Tensor = x + self.mlp(self.norm(x))
        return added


def test_a_region_run_in_chunks_leaves_the_gradient_that_others_read_as_it_is() -> None:
    """The gradient of `shift` is a part of the output's, which the residual branch reads too."""
    model, x = _Residual(32), torch.randn(4, 6, 8)
    expected = gradients(model, model(x))
    with compress(model, uniform_policy(discover(model, x), 8, recompute=True, chunk_samples=1)):
        y = model(x)
    assert_close(gradients(model, y), expected, rel=0.01)
