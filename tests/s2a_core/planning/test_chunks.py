"""A GPU is given chunks that keep it busy; a CPU those that were best on it."""

from __future__ import annotations

from dataclasses import replace

from s2a_core.planning import plan
from s2a_core.planning.chunks import chunk_sizes, micro_batches
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling.types import Profile
from tests.s2a_core.planning.profiles import profile_of, transformer


def on_device(profile: Profile, **changes: object) -> Profile:
    """The profile as of a device where 300 launches of a step, 30 ms, are most of what 4 samples take."""
    of_device = {
        "device": "cuda", "launches": 300, "chunk_samples": 4, "step_overhead_ms": 30.0, "step_ms_per_sample": 8.0,
        "chunk_ms": {"region": 24.0}, "chunk_launches": {"region": 240.0},
    }  # fmt: skip
    return replace(profile, **{**of_device, **changes})  # type: ignore[arg-type]


def test_on_a_device_chunks_begin_at_four_samples_and_go_to_all_of_them() -> None:
    profile = on_device(profile_of(()))
    assert chunk_sizes(profile, 64) == [4, 8, 16, 32, 64]
    assert chunk_sizes(profile, 22) == [4, 8, 16, 22]
    assert chunk_sizes(profile, 4) == [4]
    assert chunk_sizes(profile, 1) == [1]


def test_on_a_cpu_chunks_are_of_one_sample_or_as_many_as_were_measured_together() -> None:
    profile = profile_of((), chunk_samples=4)
    assert [chunk_sizes(profile, n) for n in (64, 4, 2)] == [[1, 4], [1, 4], [1]]
    assert micro_batches(profile, 12) == [12, 6, 4, 3, 2, 1]


def test_on_a_device_micro_batches_need_not_divide_the_batch_unless_statistics_are_estimated() -> None:
    profile = on_device(profile_of(()))
    assert micro_batches(profile, 64) == [64, 32, 22, 16, 11, 8, 6, 4, 3, 2, 1]
    assert micro_batches(replace(profile, min_micro_batch=16), 64) == [64, 32, 16]


def test_the_plan_of_a_device_takes_the_largest_chunks_that_fit_and_says_what_it_launches() -> None:
    made = transformer(3)
    sites = tuple(
        replace(s, work={s.op: tuple(replace(w, chunk_bytes=2000) for w in s.work[s.op])}) if s.op == "region" else s
        for s in made.sites
    )
    profile = on_device(replace(made, sites=sites))
    tight = smallest_budget(profile, 64)
    plans = [plan(profile, int(tight * share), 64, "balanced", has_frontier=False) for share in (1.0, 1.5, 1000.0)]
    launches = [made.predicted.launches or 0 for made in plans]
    assert launches == sorted(launches, reverse=True)
    assert launches[-1] == 300  # everything fits exactly
    assert all(made.predicted.is_host_bound for made in plans[:-1])
    assert not plans[-1].predicted.is_host_bound  # 30 ms of launches, 32 ms of work
    for p in plans:
        assert p.chunk_samples in chunk_sizes(profile, p.micro_batch)
        assert p.predicted.peak_bytes <= p.budget_bytes
        assert p.to_json()["predicted"]["launches"] == p.predicted.launches


def test_on_a_device_a_slightly_smaller_error_is_not_worth_many_times_the_launches() -> None:
    made = transformer(3)
    profile = on_device(made)  # no chunk takes more memory than a smaller one
    p = plan(profile, int(smallest_budget(profile, 64) * 1.5), 64, "accuracy", has_frontier=False)
    assert p.chunk_samples == p.micro_batch


def test_a_plan_of_a_cpu_says_nothing_of_launches() -> None:
    p = plan(transformer(2), 2**24, 8, has_frontier=False)
    assert (p.predicted.launches, p.predicted.is_host_bound) == (None, None)
