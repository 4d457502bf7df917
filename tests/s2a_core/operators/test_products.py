"""Products: frozen ones keep no activation, trained ones keep codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2a_core.compression import compress
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close


class TwoConvs(nn.Module):
    """Two convolutions, the second one depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, groups=8, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, 3, H, W]."""
        return self.second(self.first(x))


def test_a_trained_linear_codes_its_input_and_never_its_weight() -> None:
    model, x = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)), torch.randn(32, 64)
    with compress(model, StoragePolicy(default=Storage.B4), ledger=True) as session:
        y = model(x)
    assert {e.site for e in session.ledger.entries} == {"1:linear"}
    expected = torch.autograd.grad(model(x).sum(), model[0].weight)[0]
    assert_close(torch.autograd.grad(y.sum(), model[0].weight)[0], expected, rel=1e-5)


def test_frozen_convolutions_keep_nothing() -> None:
    model, x = TwoConvs(), torch.randn(2, 3, 8, 8)
    model.first.weight.requires_grad_(False)
    model.second.weight.requires_grad_(False)
    expected = torch.autograd.grad(model(x).square().sum(), model.first.bias)[0]
    with compress(model, StoragePolicy(sites={"first:conv": Storage.NONE}), ledger=True) as session:
        y = model(x)
    assert [e.site for e in session.ledger.entries] == ["second:conv"]  # padding="same" stays stock, and is listed
    assert_close(torch.autograd.grad(y.square().sum(), model.first.bias)[0], expected, rel=1e-5)


class _Attention(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(q, k, v)


def test_attention_under_autocast_takes_operands_of_several_dtypes() -> None:
    q, k, v = (torch.randn(2, 3, 9, 8, requires_grad=True) for _ in range(3))
    model = _Attention()

    def run(policy: StoragePolicy) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16), compress(model, policy):
            y = model(q, k, v.bfloat16())
        return torch.autograd.grad(y.float().square().sum(), (q, k, v))

    for got, expected in zip(run(StoragePolicy(default=Storage.B8)), run(StoragePolicy()), strict=True):
        assert_close(got, expected, rel=0.05)


def test_attention_takes_operands_that_lie_channels_last() -> None:
    model, x = _Attention(), torch.randn(2, 9, 8, 3).permute(0, 3, 1, 2).requires_grad_(True)
    (expected,) = torch.autograd.grad(model(x, x, x).square().sum(), x)
    with compress(model, StoragePolicy(default=Storage.B8)):
        y = model(x, x, x)
    assert_close(torch.autograd.grad(y.square().sum(), x)[0], expected, rel=0.05)
