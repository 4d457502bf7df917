"""Plans at several budgets stay inside them, the tighter ones at a price."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from benchmarks import budgets
from benchmarks.budgets import Accumulating


def test_every_budget_is_kept_and_the_last_is_the_smallest() -> None:
    found = list(budgets.runs(("test_vit",), size=160, batch=8, repeats=1))
    assert len(found) >= 2
    for run in found:
        assert run.measured_bytes <= run.budget_bytes <= run.full_bytes / 2
        assert run.gradient_cosine > 0.9
    assert all(tighter.budget_bytes < looser.budget_bytes for looser, tighter in pairwise(found))


def test_micro_batches_add_up_to_the_gradient_of_the_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    x, y = torch.randn(6, 3, 2, 2), torch.randint(0, 3, (6,))
    Accumulating(model, micro_batch=6).step(x, y)
    whole = model[1].weight.grad.clone()
    Accumulating(model, micro_batch=2).step(x, y)
    assert torch.allclose(model[1].weight.grad / 3, whole, atol=1e-6)
