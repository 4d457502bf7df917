"""Operators without a storage of their own: coded by the hook, shared when two of them keep one tensor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2a_core.compression import compress, discover
from s2a_core.compression.discover import uniform_policy
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import cosine


class PlainAttention(nn.Module):
    """Attention through matmul and softmax, and a gate that multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(32, 96)
        self.gate = nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, N, 32]."""
        q, k, v = self.qkv(x).chunk(3, -1)
        p = (q @ k.transpose(-2, -1) * 0.2).softmax(-1)
        return (p @ v) * self.gate(x)


def test_matmul_softmax_and_gates_are_coded() -> None:
    torch.manual_seed(0)
    model, x = PlainAttention(), torch.randn(4, 40, 32)
    specs = discover(model, x)
    assert {"matmul", "softmax", "mul"} <= {s.op for s in specs}
    expected = torch.autograd.grad(model(x).square().sum(), model.qkv.bias)[0]
    exact_bytes = _held(model, x, StoragePolicy())
    policy = uniform_policy(specs, 8)
    assert _held(model, x, policy) < 0.5 * exact_bytes
    with compress(model, policy):
        y = model(x)
    assert cosine(torch.autograd.grad(y.square().sum(), model.qkv.bias)[0], expected) > 0.999


def _held(model: nn.Module, x: Tensor, policy: StoragePolicy) -> int:
    with compress(model, policy, ledger=True) as session:
        model(x)
    return session.ledger.total_bytes


def test_the_softmax_output_is_stored_once_for_softmax_and_matmul() -> None:
    model, x = PlainAttention(), torch.randn(4, 40, 32)
    with compress(model, StoragePolicy(default=Storage.B8), ledger=True) as session:
        model(x)
    maps = [e for e in session.ledger.entries if e.shape == (4, 40, 40)]
    assert len(maps) == 1


def test_logarithms_of_no_probability_stay_exact() -> None:
    x = torch.randn(64, 64).masked_fill(torch.rand(64, 64) < 0.3, -torch.inf).requires_grad_()
    model = nn.LogSoftmax(-1)
    (expected,) = torch.autograd.grad(model(x).exp().square().sum(), x)
    with compress(model, StoragePolicy(default=Storage.B4)):
        y = model(x)
    assert torch.equal(torch.autograd.grad(y.exp().square().sum(), x)[0], expected)
