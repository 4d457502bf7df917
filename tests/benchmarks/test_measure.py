"""Measuring a step gives bytes that do not depend on luck, and ratios to a reference in the same run."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks import measure
from benchmarks.contestants import COMMON

BY_NAME = {c.name: c for c in COMMON}


def test_checkpointing_holds_less_than_bias_which_holds_less_than_full(vit: nn.Module) -> None:
    batches = [measure.images(b, 64, 5, torch.float32) for b in (2, 4)]
    held = {
        name: measure.memory(measure.ready(BY_NAME[name], vit, batches[0][0]), batches).held_per_sample
        for name in ("full fine-tuning", "bias", "bias + checkpointing", "head only (linear probe)")
    }
    assert held["full fine-tuning"] > held["bias"] > held["bias + checkpointing"] > 0


def test_memory_repeats_exactly(vit: nn.Module) -> None:
    batches = [measure.images(b, 64, 5, torch.float32) for b in (2, 4)]
    runner = measure.ready(BY_NAME["bias"], vit, batches[0][0])
    assert measure.memory(runner, batches) == measure.memory(runner, batches)


def test_a_step_compared_with_itself_takes_about_as_long(vit: nn.Module) -> None:
    x, y = measure.images(2, 64, 5, torch.float32)
    runner = measure.ready(BY_NAME["bias"], vit, x)
    runner.step(x, y)
    spread, reference_ms = measure.step_ratio(runner, runner, x, y, repeats=5)
    assert 0.2 < spread.median < 5
    assert reference_ms > 0


def test_cosine_is_one_for_equal_gradients_and_zero_for_unrelated_ones() -> None:
    a = {"w": torch.tensor([1.0, 0.0])}
    assert measure.cosine(a, a) == 1.0
    assert measure.cosine(a, {"w": torch.tensor([0.0, 1.0])}) == 0.0
