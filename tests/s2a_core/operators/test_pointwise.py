"""Activations and dropout in every spelling: function, method, module, in place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s2a_core.compression import compress
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close


class Calls(nn.Module):
    """A linear layer, then one call."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 64)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, 64]."""
        return self.call(self.inner(x))


@pytest.mark.parametrize(
    "call",
    [
        F.relu,
        torch.relu,
        lambda x: x.relu(),
        lambda x: x.relu_(),
        lambda x: F.relu(x, inplace=True),
        F.relu6,
        lambda x: F.leaky_relu(x, 0.3),
        F.hardsigmoid,
        lambda x: F.hardtanh(x, -0.2, 0.4),
    ],
)
def test_piecewise_linear_calls_keep_bits_and_stay_exact(call: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model, x = Calls(call), torch.randn(32, 64)
    expected = torch.autograd.grad(model(x).square().sum(), model.inner.bias)[0]
    with compress(model, StoragePolicy(default=Storage.MASK), ledger=True) as session:
        y = model(x)
    # square() keeps its own operand: only what the call itself keeps is in the ledger
    assert [e.storage for e in session.ledger.entries if "linear" not in e.site] == [Storage.MASK]
    assert_close(torch.autograd.grad(y.square().sum(), model.inner.bias)[0], expected, rel=1e-6)


@pytest.mark.parametrize(
    "call",
    [F.gelu, F.silu, lambda x: F.silu(x, inplace=True), F.mish, F.hardswish, torch.sigmoid, lambda x: x.tanh(), F.elu,
     F.softplus, lambda x: F.gelu(x, approximate="tanh")],
)  # fmt: skip
def test_smooth_calls_keep_codes(call: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model, x = Calls(call), torch.randn(32, 64)
    expected = torch.autograd.grad(model(x).square().sum(), model.inner.bias)[0]
    with compress(model, StoragePolicy(default=Storage.B4), ledger=True) as session:
        y = model(x)
    coded = [e for e in session.ledger.entries if e.storage is Storage.B4]
    assert [e.bytes for e in coded if "linear" not in e.site] == [32 * 64 // 2]
    assert_close(torch.autograd.grad(y.square().sum(), model.inner.bias)[0], expected, rel=0.2)


def test_dropout_keeps_one_bit_and_no_dropout_keeps_none() -> None:
    x = torch.randn(16, 64)
    for p, expected in ((0.5, [16 * 64 // 8]), (0.0, [])):
        model = Calls(nn.Dropout(p)).train()
        with compress(model, StoragePolicy(default=Storage.MASK), ledger=True) as session:
            model(x)
        assert [e.bytes for e in session.ledger.entries if "dropout" in e.site] == expected


@pytest.mark.parametrize(
    ("module", "is_usual"),
    [
        (nn.Softplus(), True),
        (nn.Softplus(2.0), False),
        (nn.Softplus(20.0), False),
        (nn.ELU(), True),
        (nn.ELU(0.5), False),
    ],
)
def test_only_the_usual_shape_of_an_activation_has_a_table(module: nn.Module, is_usual: bool) -> None:
    x = torch.randn(4, 8, 32, requires_grad=True)
    (expected,) = torch.autograd.grad(module(x).sum(), x)
    with compress(module, StoragePolicy(default=Storage.B4), ledger=True) as session:
        y = module(x)
    assert_close(torch.autograd.grad(y.sum(), x)[0], expected, rel=0.05)
    assert any(entry.reason == "codes" for entry in session.ledger.entries) is is_usual


@pytest.mark.parametrize("module", [nn.ELU(inplace=True), nn.Hardswish(inplace=True), nn.LeakyReLU(0.2, True)])
def test_an_activation_in_place_changes_its_input(module: nn.Module) -> None:
    x = torch.randn(4, 8, 32, requires_grad=True)
    with compress(module, StoragePolicy(default=Storage.B8)):
        changed = x * 1.0
        y = module(changed)
    assert torch.equal(changed, y)


@pytest.mark.parametrize("call", [F.relu, F.relu6, F.hardswish])
def test_where_the_slope_is_zero_an_infinite_gradient_ends(call: Callable[[Tensor], Tensor]) -> None:
    model, x = Calls(call), torch.randn(32, 64)
    with torch.no_grad():
        model.inner.bias.sub_(9.0)
    with compress(model, StoragePolicy(default=Storage.B8)):
        y = model(x)
    (db,) = torch.autograd.grad(y.sqrt().sum(), model.inner.bias)  # of sqrt at 0: infinite
    assert torch.equal(db, torch.zeros(64))
