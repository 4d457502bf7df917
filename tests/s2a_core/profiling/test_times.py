"""A step's time is cut into what a sample, a micro-batch and a chunk take."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from s2a_core.compression import SiteSpec
from s2a_core.profiling.device_timing import Timing
from s2a_core.profiling.runs import Step
from s2a_core.profiling.times import DeviceTimes, Extra, Times
from s2a_core.storage import Storage

REGION = SiteSpec("a:region", "region", (4, 8), "float32", (Storage.NONE, Storage.B4), None, 0)


def step_of(seconds: float) -> Step:
    return Step({}, 0, seconds, 0.0)


def test_on_a_cpu_a_storage_takes_what_its_step_takes_more() -> None:
    times = Times(lambda sites, n: step_of(0.1 + 0.05 * n), (2, 4))
    times.exact()
    assert (times.exact_s, times.overhead_s) == (pytest.approx(0.3), pytest.approx(0.1))
    assert times.step_ms_per_sample == pytest.approx(75)
    sites = {"a": Storage.B4, "b": Storage.B4}
    assert times.extra(sites, step_of(0.38), 4) == Extra(pytest.approx(10))
    times.chunks("region", sites, step_of(0.4), step_of(0.34))
    assert times.chunk_ms["region"] == pytest.approx(20)  # 4 chunks instead of 1
    times.chunks("region", sites, step_of(0.4), step_of(0.1))
    assert times.chunk_ms["region"] == pytest.approx(0.5 * 400 / 3)  # no more than half is believed


def test_on_a_device_host_and_device_are_measured_apart() -> None:
    def timing(sites: Mapping[str, Storage], n: int, chunk: int) -> Timing:
        chunks = n // chunk if sites else 0
        return Timing(0.030 + 0.006 * chunks, 0.001 + 0.002 * n * (2 if sites else 1), 300 + 40 * chunks)

    times = DeviceTimes(lambda sites, n: step_of(9.9), (2, 4), timing)
    times.exact()
    assert (times.overhead_s, times.launches, times.chunk) == (0.030, 300, 4)
    assert times.step_ms_per_sample == pytest.approx(30 / 4 + 2)
    sites = {"a:region": Storage.B4}
    times.chunks("region", sites, step_of(9.9), step_of(9.9))
    assert (times.chunk_ms["region"], times.chunk_launches["region"]) == (pytest.approx(6), pytest.approx(40))
    extra = times.extra(sites, step_of(9.9), 4)
    assert extra == Extra(pytest.approx(2), pytest.approx(6), 40)
    apart = times.of_whole(extra, REGION, [REGION, REGION])  # in chunks of one, of which 3 ms are each region's
    assert apart == Extra(pytest.approx(5), pytest.approx(3), 40)


def test_what_noise_hides_still_costs_something() -> None:
    hidden = Extra(0.0, 0.2, 3)
    assert hidden.at_least(1e-5) == Extra(1e-5, 0.2, 3)
    assert Extra(0.1).at_least(1e-5) == Extra(0.1)
