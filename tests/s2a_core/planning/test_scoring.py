"""Errors add in squares, times add up."""

from __future__ import annotations

from math import hypot

import pytest

from s2a_core.planning.scoring import exact_ms, gradient_error, mean_bits, relative_step_time
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of, site


def test_errors_add_in_squares_and_times_add_up() -> None:
    profile = profile_of((site("a", 3200, 1.0), site("b", 3200, 2.0)))
    sites = {"a": Storage.B2, "b": Storage.B2}
    assert gradient_error(profile, sites) == pytest.approx(hypot(0.25, 0.5))
    assert relative_step_time(profile, sites) == pytest.approx(1.01)
    assert mean_bits(profile, {}) == 32.0
    assert mean_bits(profile, sites) == pytest.approx(32 * 208 / 3200)


def test_what_a_step_takes_in_any_case_falls_on_fewer_samples_in_a_small_micro_batch() -> None:
    """4 samples took 40 ms, 24 of them whatever their number: 6 more per sample in ones, half of it in twos."""
    profile = profile_of((site("a", 3200, 1.0),), chunk_samples=4, step_overhead_ms=24.0)
    assert [exact_ms(profile, n) for n in (1, 2, 4, 24)] == pytest.approx([28.0, 16.0, 10.0, 5.0])
    assert relative_step_time(profile, {}, micro_batch=2, batch_size=24) == pytest.approx(16 / 5)
    assert relative_step_time(profile, {}) == 1.0
    wrong = profile_of((), chunk_samples=4, step_overhead_ms=60.0)
    assert exact_ms(wrong, 64) == pytest.approx(1.0)
