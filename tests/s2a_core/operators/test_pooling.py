"""Pooling modules: offsets or nothing, exact gradients."""

from __future__ import annotations

import torch
from torch import nn

from s2a_core.compression import compress, discover
from s2a_core.storage import Storage, StoragePolicy


def test_pooling_modules_keep_offsets_or_nothing() -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    for pool, storage, num_bytes in (
        (nn.MaxPool2d(3, 2, 1), Storage.MASK, 2 * 3 * 4 * 4 // 2),
        (nn.AvgPool2d(2), Storage.NONE, 0),
    ):
        model = nn.Sequential(pool)
        expected = torch.autograd.grad(model(x).square().sum(), x)[0]
        with compress(model, StoragePolicy(default=storage), ledger=True) as session:
            y = model(x * 1.0)
        assert session.ledger.total_bytes == num_bytes
        assert torch.allclose(torch.autograd.grad(y.square().sum(), x)[0], expected)


def test_a_window_too_large_for_offsets_runs_as_it_is() -> None:
    model, x = nn.MaxPool2d(17), torch.randn(2, 3, 34, 34, requires_grad=True)
    assert {spec.options for spec in discover(model, x)} == {(Storage.EXACT,)}
    (expected,) = torch.autograd.grad(model(x).sum(), x)
    with compress(model, StoragePolicy(default=Storage.MASK)):
        y = model(x)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], expected)


def test_options_may_be_tuples_of_one_number() -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    for pool in (nn.MaxPool2d((2,), (3,), (1,)), nn.AvgPool2d((2,), (3,), (1,))):  # type: ignore[arg-type]
        (expected,) = torch.autograd.grad(pool(x).square().sum(), x)
        with compress(pool, StoragePolicy(default=Storage.MASK)):
            y = pool(x)
        assert torch.allclose(torch.autograd.grad(y.square().sum(), x)[0], expected)
