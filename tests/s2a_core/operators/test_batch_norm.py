"""Frozen batch normalisation: exact gradients, nothing kept but what the model holds anyway."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from s2a_core.operators.batch_norm import FrozenBatchNormFunction, batch_norms, uses_batch_statistics
from tests.assertions import assert_close


def test_who_normalises_by_the_batch_at_hand() -> None:
    norm = nn.BatchNorm2d(3)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), norm)
    assert uses_batch_statistics(batch_norms(network))
    assert not uses_batch_statistics(batch_norms(network.eval()))
    assert uses_batch_statistics(batch_norms(nn.BatchNorm2d(3, track_running_stats=False).eval()))
    assert not uses_batch_statistics(batch_norms(nn.LayerNorm(3).train()))


def test_gradients_of_input_and_bias_are_exact() -> None:
    x, bias = torch.randn(3, 4, 5, 6, requires_grad=True), torch.randn(4, requires_grad=True)
    mean, var, weight = torch.randn(4), torch.rand(4) + 0.5, torch.rand(4)
    stock = F.batch_norm(x, mean, var, weight, bias, False, 0.0, 1e-5)
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = FrozenBatchNormFunction.apply(x, mean, var, weight, bias, 1e-5)
    assert {t.data_ptr() for t in saved} == {t.data_ptr() for t in (weight, mean, var)}  # the model's own: no bytes
    dy = torch.randn_like(stock)
    for got, expected in zip(
        torch.autograd.grad(y, (x, bias), dy), torch.autograd.grad(stock, (x, bias), dy), strict=True
    ):
        assert_close(got, expected, rel=1e-6)
