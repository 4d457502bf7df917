"""A run of the suite gives a row for every contestant, also for one that cannot run."""

from __future__ import annotations

import torch

from benchmarks import suite
from benchmarks.contestants import COMMON

FEW = tuple(c for c in COMMON if c.name in ("bias", "bias + checkpointing", "VPT-deep 10"))


def test_every_contestant_has_a_row() -> None:
    case = suite.Case("mobilenetv2_050", "fp32", image_size=64, batches=(1, 2))
    rows = {row.contestant: row for row in suite.run(case, FEW, repeats=1)}
    assert set(rows) == {c.name for c in FEW}
    assert rows["VPT-deep 10"].reason == "written for plain ViTs"
    assert rows["bias"].peak_bytes_per_sample
    cosine = rows["bias + checkpointing"].gradient_cosine
    assert cosine is not None
    assert cosine > 0.999


def test_the_floor_is_weights_and_one_forward() -> None:
    case = suite.Case("mobilenetv2_050", "fp32", image_size=64)
    model, weights = suite.create(case, {}, "cpu")
    floor = suite.floor(model, torch.zeros(2, 3, 64, 64))
    assert weights == "random"
    assert floor["weight_bytes"] == 4 * sum(p.numel() for p in model.parameters())
    assert floor["forward_working_bytes"] > 0
