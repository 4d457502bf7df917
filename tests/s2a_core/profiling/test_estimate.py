"""Peaks from shapes alone lie near those of real steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from s2a_core.batches import Samples
from s2a_core.models import load_model
from s2a_core.profiling.estimate import estimated_peak, shapes_of
from s2a_core.profiling.runs import run_step
from s2a_core.segmenter import Segmenter
from s2a_core.storage import StoragePolicy
from s2a_core.tasks import SEGMENTATION


@pytest.mark.parametrize("samples", [2, 6])
def test_the_peak_of_full_fine_tuning_is_right_to_five_percent(samples: int) -> None:
    model = load_model("s2a_tiny", "none").train()
    x = torch.randn(6, 3, 32, 32)
    mode, shapes = shapes_of(model, lambda copied: copied.requires_grad_(True))
    estimated = estimated_peak(mode, shapes.train(), samples, x, "fp32")
    labels = torch.zeros(samples, dtype=torch.long)
    measured = run_step(model, x[:samples], labels, StoragePolicy(), "fp32", True)
    assert estimated == pytest.approx(measured.peak_bytes, rel=0.05)


def test_masks_and_their_loss_count() -> None:
    model = Segmenter(load_model("s2a_tiny", "none"), 9, 32).train()
    x, masks = torch.randn(4, 3, 32, 32), torch.zeros(4, 32, 32, dtype=torch.uint8)
    targets = Samples(masks, 4, SEGMENTATION.profiled_loss)
    mode, shapes = shapes_of(model, lambda copied: copied.requires_grad_(True))
    estimated = estimated_peak(mode, shapes.train(), 4, x, "fp32", targets)
    measured = run_step(model, x, targets, StoragePolicy(), "fp32", True)
    assert estimated == pytest.approx(measured.peak_bytes, rel=0.05)


def test_narrow_weights_are_taken_as_fp32_and_the_model_stays_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(4, 4).to(torch.bfloat16))
    _, shapes = shapes_of(model, lambda copied: copied)
    assert shapes[0].weight.dtype == torch.float32
    assert model[0].weight.dtype == torch.bfloat16


def test_a_model_that_cannot_be_built_gives_none() -> None:
    assert shapes_of(nn.Linear(2, 2), lambda copied: None)[1] is None
