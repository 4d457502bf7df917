"""A step's time is cut into what a sample, a micro-batch and a chunk take."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

import s2a_core.profiling.times as times_module
from s2a_core.compression import SiteSpec
from s2a_core.profiling.device_timing import Timing
from s2a_core.profiling.runs import Step
from s2a_core.profiling.times import DeviceTimes, Extra, Times
from s2a_core.storage import Storage

REGION = SiteSpec("a:region", "region", (4, 8), "float32", (Storage.NONE, Storage.B4), None, 0)


def step_of(seconds: float) -> Step:
    return Step({}, 0, seconds, 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that only steps move on."""
    now = [0.0]
    monkeypatch.setattr(times_module.time, "perf_counter", lambda: now[0])
    return now


def test_on_a_cpu_ways_are_timed_in_turn_and_single_storages_add_up_to_them(clock: list[float]) -> None:
    def timed_step(sites: Mapping[str, Storage], n: int, chunk: int) -> Callable[[], None]:
        seconds = 0.1 + 0.05 * n + (0.02 * n + 0.02 * (n / chunk - 1) if sites else 0.0)
        return lambda: clock.append(clock.pop() + seconds)

    times = Times(lambda sites, n: step_of(0.2 + 0.05 * n), (2, 4), timed_step)
    sites = {"a": Storage.B4, "b": Storage.B4}
    times.measure({"gelu": sites, "region": sites})
    assert times.overhead_s == pytest.approx(0.1)  # not the 0.2 of a step that watches
    assert times.step_ms_per_sample == pytest.approx(75)
    assert times.extra(sites, step_of(0.48), 4) == Extra(pytest.approx(10))
    assert times.chunk_ms["region"] == pytest.approx(20)  # 4 chunks instead of 1
    assert times.operator_ms == pytest.approx({"gelu": 35, "region": 35})


def test_where_steps_are_long_codes_are_timed_once(clock: list[float]) -> None:
    times = Times(lambda sites, n: step_of(9.0), (2, 4), lambda sites, n, chunk: lambda: clock.append(clock.pop() + 9))
    times.measure({"gelu": {"a": Storage.B4}, "block": {"a:block": Storage.B4}})
    assert set(times.operator_ms) == {"block"}
    assert clock == [4 * 9]  # exact of both batches, the blocks apart and together: one round


def test_larger_chunks_save_no_more_than_half(clock: list[float]) -> None:
    def timed_step(sites: Mapping[str, Storage], n: int, chunk: int) -> Callable[[], None]:
        return lambda: clock.append(clock.pop() + (0.4 / chunk if sites else 0.01))

    times = Times(lambda sites, n: step_of(0.01), (2, 4), timed_step)
    times.measure({"block": {"a:block": Storage.B4}})
    assert times.chunk_ms["block"] == pytest.approx(0.5 * 400 / 3)


def test_on_a_device_host_and_device_are_measured_apart() -> None:
    timings: list[Timing] = []

    def timed_step(sites: Mapping[str, Storage], n: int, chunk: int) -> Callable[[], None]:
        chunks = n // chunk if sites else 0
        of = Timing(0.030 + 0.006 * chunks, 0.001 + 0.002 * n * (2 if sites else 1), 300 + 40 * chunks)
        return lambda: timings.append(of)

    def timing(step: Callable[[], None]) -> Timing:
        step()
        return timings[-1]

    times = DeviceTimes(lambda sites, n: step_of(9.9), (2, 4), timed_step, timing)
    sites = {"a:region": Storage.B4}
    times.measure({"gelu": {}, "region": sites})
    assert (times.overhead_s, times.launches, times.chunk) == (0.030, 300, 4)
    assert times.step_ms_per_sample == pytest.approx(30 / 4 + 2)
    assert (times.chunk_ms["region"], times.chunk_launches["region"]) == (pytest.approx(6), pytest.approx(40))
    extra = times.extra(sites, step_of(9.9), 4)
    assert extra == Extra(pytest.approx(2), pytest.approx(6), 40)
    apart = times.of_whole(extra, REGION, [REGION, REGION])  # in chunks of one, of which 3 ms are each region's
    assert apart == Extra(pytest.approx(5), pytest.approx(3), 40)
    assert not times.operator_ms


def test_what_noise_hides_still_costs_something() -> None:
    hidden = Extra(0.0, 0.2, 3)
    assert hidden.at_least(1e-5) == Extra(1e-5, 0.2, 3)
    assert Extra(0.1).at_least(1e-5) == Extra(0.1)
