"""What a plan promises: it fits, more budget is never worse, the smallest budget works and less is refused."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2a_core.errors import InfeasibleBudget, InvalidInput
from s2a_core.planning import plan
from s2a_core.planning.objective import NEGLIGIBLE_ERROR
from s2a_core.planning.overhead import Overhead
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling.types import WorkingSet
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of, transformer


def test_everything_is_exact_when_the_budget_allows() -> None:
    p = plan(transformer(2), 100 * 2**20, batch_size=8)
    assert p.predicted.gradient_error == 0.0
    assert p.micro_batch == 8
    assert all(s in (Storage.EXACT, Storage.NONE) for s in p.sites.values())


def test_the_smallest_budget_is_feasible_and_two_percent_less_is_refused() -> None:
    profile = transformer(3)
    smallest = smallest_budget(profile, 8)
    assert plan(profile, smallest, batch_size=8).predicted.peak_bytes <= smallest
    with pytest.raises(InfeasibleBudget) as refused:
        plan(profile, int(smallest * 0.98), batch_size=8)
    assert refused.value.min_feasible_budget_bytes == smallest


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 100), shares=st.lists(st.floats(1.0, 3.0), min_size=2, max_size=2))
def test_a_larger_budget_is_never_less_accurate(seed: int, shares: list[float]) -> None:
    profile = transformer(3, seed=seed)
    smallest = smallest_budget(profile, 8)
    low, high = (plan(profile, int(smallest * s), batch_size=4) for s in sorted(shares))
    assert max(high.predicted.gradient_error, 0.02) <= max(low.predicted.gradient_error, 0.02) * 1.001
    errors = [max(point.gradient_error, NEGLIGIBLE_ERROR) for point in high.frontier]
    assert errors == sorted(errors, reverse=True)


def test_what_more_budget_would_buy_is_never_slower_for_an_error_that_noise_hides() -> None:
    profile = transformer(3, seed=3)
    frontier = plan(profile, int(smallest_budget(profile, 8) * 1.5), batch_size=8).frontier
    times = [point.relative_step_time for point in frontier if point.gradient_error <= NEGLIGIBLE_ERROR]
    assert len(times) > 1
    assert times == sorted(times, reverse=True)


def test_a_budget_far_above_the_need_still_shows_what_less_would_cost() -> None:
    profile = transformer(3)
    p = plan(profile, 1000 * smallest_budget(profile), batch_size=8)
    below = {point.peak_bytes for point in p.frontier if point.peak_bytes < p.predicted.peak_bytes}
    assert len(below) >= 2  # the smallest, and at least one in between


@pytest.mark.parametrize("objective", ["accuracy", "speed", "balanced"])
def test_every_objective_fits(objective: str) -> None:
    profile = transformer(3)
    budget = int(smallest_budget(profile) * 1.2)
    p = plan(profile, budget, batch_size=8, objective=objective)  # type: ignore[arg-type]
    assert p.predicted.peak_bytes <= budget
    assert sum(p.predicted.breakdown.values()) == p.predicted.peak_bytes
    assert p.micro_batch * p.accumulation == 8
    assert p.baselines


def test_a_margin_is_kept_free() -> None:
    profile = transformer(2)
    budget = smallest_budget(profile) + 40_000
    p = plan(profile, budget, batch_size=4, overhead=Overhead(margin_bytes=20_000))
    assert p.predicted.peak_bytes <= budget
    assert p.predicted.breakdown["margin"] >= 20_000


@pytest.mark.parametrize(("batch", "objective"), [(0, "accuracy"), (4, "cheap")])
def test_bad_requests_are_refused(batch: int, objective: str) -> None:
    with pytest.raises(InvalidInput):
        plan(transformer(1), 2**20, batch_size=batch, objective=objective)  # type: ignore[arg-type]


def test_planning_a_large_model_takes_seconds() -> None:
    profile = transformer(12, 8)
    start = time.process_time()
    plan(profile, int(smallest_budget(profile) * 1.5), batch_size=64)
    assert time.process_time() - start < 8


def test_a_batch_is_split_only_where_its_steps_cost_less_than_codes() -> None:
    """In half of what exact storage of the whole batch needs: more steps, or codes that are as good as exact."""
    sites = []
    for s in transformer(3).sites:
        codes = (replace(o, gradient_error=1e-3 * o.gradient_error, extra_ms_per_sample=0.1) for o in s.options[1:])
        sites.append(replace(s, options=(s.options[0], *codes)))
    profile = profile_of(tuple(sites), chunk_samples=4)
    whole = plan(profile, 2**30, 16, "accuracy").predicted.peak_bytes
    assert plan(profile, whole // 2, 16, "accuracy").micro_batch < 16
    launched = replace(profile, step_overhead_ms=30.0)
    made = plan(launched, whole // 2, 16, "accuracy")
    assert (made.micro_batch, made.predicted.peak_bytes <= whole // 2) == (16, True)
    tight = plan(launched, smallest_budget(launched, 16), 16, "accuracy")
    assert tight.micro_batch < 16
    assert tight.predicted.relative_step_time > 1.5


def test_larger_chunks_are_chosen_where_they_save_time_and_fit() -> None:
    made = transformer(3)
    sites = tuple(
        replace(s, work={s.op: tuple(replace(w, chunk_bytes=500) for w in s.work[s.op])}) if s.op == "region" else s
        for s in made.sites
    )
    profile = replace(made, sites=sites, chunk_samples=4, chunk_ms={"region": 0.16})
    tight = int(smallest_budget(profile, 8) * 1.03)
    p = plan(profile, tight, batch_size=8, objective="speed")
    wide = plan(profile, int(tight * 1.2), batch_size=8, objective="speed")
    assert {p.chunk_samples, wide.chunk_samples} <= {1, 4}
    slower = plan(replace(profile, chunk_ms={}), int(tight * 1.2), batch_size=8, objective="speed")
    assert wide.predicted.relative_step_time <= slower.predicted.relative_step_time
    whole = replace(profile, chunk_ms={"region": 40.0})
    assert plan(whole, int(tight * 1.2), batch_size=8, objective="speed").chunk_samples == 4


@pytest.mark.parametrize("objective", ["accuracy", "speed", "balanced"])
def test_the_smallest_budget_is_feasible_where_an_exact_evaluation_needs_more(objective: str) -> None:
    made = transformer(3)
    evaluation = {"exact": WorkingSet(60_000, 9000), "region": WorkingSet(59_000, 8000)}
    profile = replace(made, evaluation=evaluation)
    smallest = smallest_budget(profile, 8)
    assert plan(profile, smallest, batch_size=8, objective=objective).predicted.peak_bytes <= smallest  # type: ignore[arg-type]
