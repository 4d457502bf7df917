"""Models of many families under compress: exact storage equals stock, 8-bit codes nearly so; failures are rows."""

from __future__ import annotations

import pytest
import timm

from benchmarks import coverage


@pytest.mark.parametrize("name", coverage.OFTEN)
def test_gradients_match_stock(name: str) -> None:
    row = coverage.check(name)
    assert row.failure == ""
    assert row.sites > 0
    assert row.error_exact is not None
    assert row.error_exact <= 1e-4
    assert row.cosine_8bit is not None
    assert row.cosine_8bit >= 0.999
    assert row.cosine_regions is None or row.cosine_regions >= 0.999
    assert row.held_8bit_bytes < row.held_stock_bytes


def test_the_list_has_one_model_of_every_family() -> None:
    assert set(timm.list_modules()) <= set(coverage.SMALLEST) or len(coverage.SMALLEST) >= 60
    assert set(coverage.SMALLEST.values()) <= set(timm.list_models())


def test_rows_stand_in_the_order_of_the_families_and_others_after_them() -> None:
    first, second = list(coverage.SMALLEST.values())[:2]
    assert coverage.ordered(["another", second, first]) == [first, second, "another"]


def test_a_model_that_fails_is_a_row() -> None:
    row = coverage.check("no_such_model")
    assert not row.is_good
    assert row.failure
    assert "failed" in coverage.table([row])
