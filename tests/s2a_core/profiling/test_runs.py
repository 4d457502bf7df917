"""Steps measure what they claim and repeat."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from s2a_core.kernels import fit_table
from s2a_core.profiling.runs import evaluation_peak, gradient, relative_error, run_step, unchanged
from s2a_core.storage import Storage, StoragePolicy


def test_a_step_repeats_and_its_peak_covers_what_it_holds(vit: nn.Module) -> None:
    x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    first = run_step(vit, x, y, StoragePolicy(), "fp32", is_metered=True)
    exact = gradient(vit)
    again = run_step(vit, x, y, StoragePolicy(), "fp32", is_metered=False)
    assert relative_error(gradient(vit), exact) < 1e-6
    assert first.peak_bytes > first.held_bytes == again.held_bytes > 0
    assert 0 < evaluation_peak(vit, x, "fp32") < first.peak_bytes


@pytest.mark.parametrize("storage", [Storage.B2, Storage.B4, Storage.B8])
def test_the_first_step_of_a_process_takes_no_more_than_later_ones(storage: Storage) -> None:
    # 65 tokens, so that the first one of each sample has a finer table too
    x, y = torch.randn(4, 3, 64, 64), torch.zeros(4, dtype=torch.long)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=8, depth=1, embed_dim=48, num_heads=3)
    policy = StoragePolicy({"blocks.0.mlp.act:gelu": storage})
    fit_table.cache_clear()
    first, second = (run_step(vit, x, y, policy, "fp32", is_metered=True) for _ in range(2))
    assert first.bytes == second.bytes
    assert first.peak_bytes <= second.peak_bytes


def test_a_gradient_that_is_not_finite_is_a_large_error() -> None:
    assert relative_error(torch.tensor([float("nan")]), torch.ones(1)) == 1e3


def test_unchanged_restores_parameters_flags_and_modes(vit: nn.Module) -> None:
    vit.eval()
    before = vit.head.bias.detach().clone()
    with unchanged(vit):
        with torch.no_grad():
            vit.head.bias.add_(1.0)
        vit.train().requires_grad_(True)
    assert torch.equal(vit.head.bias, before)
    assert not vit.training
    assert not vit.patch_embed.proj.weight.requires_grad
