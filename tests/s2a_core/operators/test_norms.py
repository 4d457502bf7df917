"""Norms: codes for layer and RMS norms, nothing for frozen batch norms, stock for the rest."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from s2a_core.compression import compress, prepare_frozen_weights
from s2a_core.storage import Storage, StoragePolicy
from tests.assertions import assert_close


def test_layer_and_rms_norms_keep_codes_and_a_statistic() -> None:
    for norm in (nn.LayerNorm(64), nn.RMSNorm(64)):
        model, x = nn.Sequential(norm, nn.Linear(64, 4)), torch.randn(3, 20, 64, requires_grad=True)
        expected = torch.autograd.grad(model(x).square().sum(), x)[0]
        with compress(model, StoragePolicy(default=Storage.B8), ledger=True) as session:
            y = model(x * 1.0)
        norms = [e for e in session.ledger.entries if "norm" in e.site]
        assert sum(e.bytes for e in norms) == 3 * (20 * 64 + 4 * 64) + 3 * 20 * 4
        assert_close(torch.autograd.grad(y.square().sum(), x)[0], expected, rel=0.05)


def test_frozen_batch_norm_keeps_nothing_of_its_own() -> None:
    model, x = nn.Sequential(nn.BatchNorm2d(6)).eval(), torch.randn(2, 6, 9, 9, requires_grad=True)
    model[0].weight.requires_grad_(False)
    with compress(model, StoragePolicy(sites={"0:batch_norm": Storage.NONE}), ledger=True) as session:
        model(x * 1.0)
    assert session.ledger.total_bytes == 0


def test_a_norm_over_two_dimensions_stays_stock() -> None:
    model, x = nn.Sequential(nn.LayerNorm((4, 8))), torch.randn(2, 4, 8)
    with compress(model, StoragePolicy(default=Storage.B4)):
        assert_close(model(x), nn.functional.layer_norm(x, (4, 8)), rel=1e-6)


@pytest.mark.parametrize("trains_bias", [False, True])
@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.GroupNorm(1, 4)])
def test_norms_of_maps_run_with_frozen_scales_in_bf16(norm: nn.Module, trains_bias: bool, is_training: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), copy.deepcopy(norm), nn.Conv2d(4, 2, 1)).train(is_training)
    model.requires_grad_(False)
    model[0].bias.requires_grad_(True)
    model[1].bias.requires_grad_(trains_bias)
    prepare_frozen_weights(model, "bf16")
    with torch.autocast("cpu", torch.bfloat16), compress(model, StoragePolicy(default=Storage.B4)):
        y = model(torch.randn(2, 3, 4, 4))
    y.float().sum().backward()
    assert bool(torch.isfinite(model[0].bias.grad).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_rms_norm_without_eps_has_the_one_of_stock(dtype: torch.dtype) -> None:
    model, x = nn.RMSNorm(16).to(dtype), (torch.randn(4, 8, 16) * 0.01).to(dtype).requires_grad_(True)
    with compress(model, StoragePolicy(default=Storage.B8)):
        y = model(x)
    assert_close(y.float(), model(x).float(), rel=0.01)
