"""Models of several families plan, verify and train inside a third of what full fine-tuning takes."""

from __future__ import annotations

import pytest

from benchmarks import plannable


@pytest.mark.parametrize("name", plannable.OFTEN)
def test_a_third_of_full_is_enough_or_refused_in_words(name: str) -> None:
    row = plannable.check(name, 64)
    assert row.failure == ""
    assert row.is_good, row
    assert row.full_bytes > row.budget_bytes > 0
    assert row.image_size == 64


def test_what_went_above_its_budget_is_not_good() -> None:
    row = plannable.Run("m", "f", budget_bytes=10, measured_bytes=11)
    assert not row.is_good
    assert "ABOVE" in plannable.table([row])
    assert not plannable.Run("m", "f", failure="RuntimeError: x").is_good
