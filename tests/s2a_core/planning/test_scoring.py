"""Errors add in squares, times add up."""

from __future__ import annotations

from dataclasses import replace
from math import hypot

import pytest

from s2a_core.planning.scoring import (
    Cut,
    device_step_ms,
    exact_ms,
    gradient_error,
    is_host_bound,
    launches,
    mean_bits,
    relative_step_time,
)  # fmt: skip
from s2a_core.profiling.types import Option
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of, site, whole


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
    assert relative_step_time(profile, {}, Cut(2), 24) == pytest.approx(16 / 5)
    assert relative_step_time(profile, {}) == 1.0
    wrong = profile_of((), chunk_samples=4, step_overhead_ms=60.0)
    assert exact_ms(wrong, 64) == pytest.approx(1.0)


def test_on_a_device_the_busier_of_host_and_device_decides_how_long_a_step_takes() -> None:
    """30 ms of launches for any number of samples, half a millisecond of work for each."""
    device = {"device": "cuda", "launches": 300, "chunk_samples": 4, "step_overhead_ms": 30.0}
    region = replace(whole("a:region", "region", 3200, 1.0), options=(
        Option(Storage.NONE, 0, 0.0, 0.0), Option(Storage.B4, 400, 0.1, 6.1, fixed_ms=4.0, launches=50.0),
    ))  # fmt: skip
    profile = profile_of(
        (region,), **device, step_ms_per_sample=8.0, chunk_ms={"region": 6.0}, chunk_launches={"region": 40.0}
    )
    used, cut = {"a:region": Storage.B4}, Cut(64, 16)
    assert device_step_ms(profile, {}, Cut(64)) == pytest.approx((30 / 64, 0.5))
    assert not is_host_bound(profile, {}, Cut(64))
    assert is_host_bound(profile, {}, Cut(32))
    assert device_step_ms(profile, used, cut) == pytest.approx(((30 + 4 + 4 * 6) / 64, 0.5 + 0.1))
    assert relative_step_time(profile, used, cut, 64) == pytest.approx(58 / 64 / 0.5)
    assert launches(profile, used, cut, 64) == 300 + 50 + 3 * 40
    assert launches(profile, used, Cut(24, 24), 64) == 3 * (300 + 50)
