"""A result file reads back as what was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results import BudgetRun, Curve, PlannerRun, Results, Row, Spread, provenance


def example() -> Results:
    common = {
        "model": "m",
        "precision": "fp32",
        "image_size": 64,
        "batches": (2, 4),
        "weights": "random",
        "device": "cpu",
    }
    rows = (
        Row(**common, contestant="bias + checkpointing", kind="common practice", trainable_params=7, model_bytes=100,  # type: ignore[arg-type]
            held_bytes_per_sample=10, peak_bytes_per_sample=4_000_000, peak_bytes=9_000_000,
            step_ratio_to_bias=Spread(1.3, 1.2, 1.4, 3)),
        Row(**common, contestant="s2a bias", kind="s2a", trainable_params=7, model_bytes=100, held_bytes_per_sample=5,  # type: ignore[arg-type]
            peak_bytes_per_sample=1_000_000, peak_bytes=5_000_000, gradient_cosine=0.995,
            step_ratio_to_bias=Spread(1.4, 1.3, 1.5, 3)),
        Row(**common, contestant="VPT-deep 10", kind="published, written by us", reason="written for plain ViTs"),  # type: ignore[arg-type]
    )  # fmt: skip
    return Results(
        **provenance("make bench", "cpu", 2),
        rows=rows,
        curves=(Curve("m", "s2a bias", "fp32", "batch", (1, 2), (10, 20), (1.0, 2.0)),),
        budgets=(BudgetRun("m", 16, 2**28, 2**26, 8, 4.2, 2**26 - 5, 2**26 - 9, 0.999, Spread(1.2, 1.1, 1.3, 3)),),
        planner=(PlannerRun(10, 0.1, 0.0, 0.1, 0.2, 0.3),),
        floors={"m fp32": {"weight_bytes": 5, "forward_working_bytes": 6}},
    )


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    example().write(tmp_path / "r.json")
    assert Results.read(tmp_path / "r.json") == example()


def test_another_version_is_refused(tmp_path: Path) -> None:
    example().write(tmp_path / "r.json")
    raw = json.loads((tmp_path / "r.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps({**raw, "version": 99}))
    with pytest.raises(ValueError, match="version 99"):
        Results.read(tmp_path / "r.json")


def test_spread_is_the_median_and_the_extremes() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, 3)
