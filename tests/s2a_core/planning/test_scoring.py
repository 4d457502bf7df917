"""Errors add in squares, times add up."""

from __future__ import annotations

from math import hypot

import pytest

from s2a_core.planning.scoring import gradient_error, mean_bits, relative_step_time
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of, site


def test_errors_add_in_squares_and_times_add_up() -> None:
    profile = profile_of((site("a", 3200, 1.0), site("b", 3200, 2.0)))
    sites = {"a": Storage.B2, "b": Storage.B2}
    assert gradient_error(profile, sites) == pytest.approx(hypot(0.25, 0.5))
    assert relative_step_time(profile, sites) == pytest.approx(1.01)
    assert mean_bits(profile, {}) == 32.0
    assert mean_bits(profile, sites) == pytest.approx(32 * 208 / 3200)
