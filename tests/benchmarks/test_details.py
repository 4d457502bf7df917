"""What stands beside the contestants' tables is shown where it was measured, and left out where it was not."""

from __future__ import annotations

import dataclasses

from benchmarks import details
from tests.benchmarks.test_results import example


def test_only_what_was_measured_has_a_section() -> None:
    text = "\n".join(details.sections(example()))
    assert "The planner" in text
    assert "several budgets" in text
    assert "MemTracker" not in text
    assert details.sections(dataclasses.replace(example(), planner=(), budgets=())) == []


def test_a_budget_shows_what_was_promised_and_measured_in_mebibytes() -> None:
    assert "| m, batch 16 | 256.0 | 64.0 | 8 | 4.2 | 64.0 | 64.0 | 0.9990 | 1.20 |" in details.budgets(example())
