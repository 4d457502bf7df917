"""The margin is a quantile of the errors, and a default while there are few."""

from __future__ import annotations

import pytest

from s2a_core.planning.margin import error_share


def test_the_margin_is_a_quantile_of_the_errors() -> None:
    errors = [i / 1000 for i in range(100)]
    assert error_share(errors[:5]) == 0.0
    assert error_share(errors) == pytest.approx(0.095)
    assert error_share([-0.5] * 100) == 0.0
