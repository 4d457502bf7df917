"""One peak: what is solved, promised, verified and drawn are the same bytes, and nothing that fits is thrown away."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from s2a_core.errors import InfeasibleBudget
from s2a_core.planning import plan
from s2a_core.planning.course import predicted_course
from s2a_core.planning.memory import chosen_options, held_bytes
from s2a_core.planning.objective import NEGLIGIBLE_ERROR
from s2a_core.planning.overhead import Overhead, overhead_of
from s2a_core.planning.peak import Peak
from s2a_core.planning.search import smallest_budget, smallest_peak
from s2a_core.planning.solve import Program
from s2a_core.profiling.types import Option, Profile, Segment, SiteProfile, WorkingSet
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of, transformer
from tests.s2a_core.planning.random_profiles import random_profile

Sites = dict[str, Storage]


def squared_error(_: SiteProfile, option: Option) -> float:
    return option.gradient_error**2


def every_choice(profile: Profile) -> Iterator[Sites]:
    """All choices of storages that differ in what is in use."""
    seen = set()
    for options in itertools.product(*(site.options for site in profile.sites)):
        named = {site.name: option.storage for site, option in zip(profile.sites, options, strict=True)}
        chosen = {site.name: option.storage for site, option in chosen_options(profile, named)}
        if tuple(chosen.items()) not in seen:
            seen.add(tuple(chosen.items()))
            yield chosen


def random_peak(seed: int) -> Peak:
    draw = random.Random(seed)
    overhead = Overhead({"average": 700, "best_state": draw.choice((0, 30_000))}, draw.choice((0.0, 0.02)), 11)
    return Peak(
        random_profile(seed), draw.choice((1, 2, 5)), draw.random() < 0.5, draw.choice((1, 2)), "keep", overhead
    )


def solver_maximum(program: Program, sites: Sites) -> float:
    """The largest of all rows of the program for a choice."""
    columns = [float(sites.get(program.sites[i].name) is o.storage) for i, o in program.columns]
    values = program.completed(_array(columns))
    used = {name for name in program.peak.operators if sites.get(name, Storage.NONE) is not Storage.NONE}
    moments = []
    for moment in program.moments:
        variables = {**dict(enumerate(columns)), **_evaluation_variables(program, used)}
        if moment.constant + sum(c * variables[j] for j, c in moment.coefficients.items()) > 0.5:
            moments.append(moment.size)
    return max(program.turns(values).max(), program.peak.least_moving, *moments, 0)


def _array(columns: list[float]):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.array(columns)


def _evaluation_variables(program: Program, used: set[str]) -> dict[int, float]:
    """The smallest (all used) and largest (any used) values that the program's rules leave to its last variables."""
    first = program.num_x + len(program.shared) + len(program.beside) + len(program.live)
    modes = [m for m in ("block", "region") if m in program.peak.operators.values()]
    values: list[float] = []
    for mode in modes:
        alike = {name for name, op in program.peak.operators.items() if op == mode}
        values.append(float(alike <= used and not any(values)))
    return dict(enumerate([*values, float(bool(used))], start=first))


@pytest.mark.parametrize("seed", range(200))
def test_the_program_the_promise_and_the_drawn_course_have_one_maximum(seed: int) -> None:
    peak, draw = random_peak(seed), random.Random(seed)
    program, choices = Program(peak), list(every_choice(peak.profile))
    for sites in draw.sample(choices, min(5, len(choices))):
        course = peak.course(sites)
        moving = max(point.moving for point in course)
        parts = peak.breakdown(sites)
        assert solver_maximum(program, sites) == moving
        assert sum(parts.values()) == peak.total(moving) == max(point.num_bytes for point in course)
        assert min(parts.values()) >= 0
        assert parts["held"] == held_bytes(peak.profile, sites, peak.samples)
        room = peak.room(peak.total(moving))
        assert peak.total(room) <= peak.total(moving) < peak.total(room + 1)
        assert moving <= room


@pytest.mark.parametrize("seed", range(40))
def test_no_optimum_is_thrown_away(seed: int) -> None:
    """The program equals trying every choice: the same verdict to the byte, and the least error."""
    peak, draw = random_peak(seed), random.Random(seed)
    program = Program(peak)
    tried = [
        (max(p.moving for p in peak.course(c)), sum(o.gradient_error**2 for _, o in chosen_options(peak.profile, c)))
        for c in every_choice(peak.profile)
    ]
    least = min(moving for moving, _ in tried)
    smallest = program.solve(None, None)
    assert smallest is not None
    assert smallest.peak_bytes == pytest.approx(least, rel=1e-4)
    assert program.solve(least - 1, squared_error) is None
    for capacity in (least, least + 1, draw.choice(tried)[0], draw.choice(tried)[0] - 1):
        best = min((error for moving, error in tried if moving <= capacity), default=None)
        solution = program.solve(capacity, squared_error)
        assert (solution is None) == (best is None)
        if solution is not None and best is not None:
            assert best - 1e-12 <= solution.cost <= best * (1 + 1e-3) + 1e-9
            assert solution.peak_bytes <= capacity


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("batch_size", [1, 6])
def test_a_plan_reaches_what_it_promises_and_a_budget_below_the_smallest_is_refused(seed: int, batch_size: int) -> None:
    profile = random_profile(seed)
    batch_size = max(batch_size, profile.min_micro_batch)
    overhead = overhead_of("cpu", profile.state_bytes, has_average=bool(seed % 2))
    smallest = smallest_budget(profile, batch_size, overhead)
    for share in (1.0, 1.1, 3.0):
        made = plan(profile, int(share * smallest), batch_size, overhead=overhead, has_frontier=False)
        assert sum(made.predicted.breakdown.values()) == made.predicted.peak_bytes <= made.budget_bytes
        assert max(point.num_bytes for point in predicted_course(profile, made)) == made.predicted.peak_bytes
        assert made.min_feasible_budget_bytes == smallest
    assert smallest_peak(profile, batch_size, overhead) <= smallest
    with pytest.raises(InfeasibleBudget) as refused:
        plan(profile, smallest - 1, batch_size, overhead=overhead)
    assert refused.value.min_feasible_budget_bytes == smallest


@pytest.mark.parametrize("seed", range(12))
def test_the_best_plan_of_a_budget_is_that_of_all_choices_and_micro_batches(seed: int) -> None:
    profile = random_profile(seed)
    budget = int(random.Random(seed).uniform(1.0, 1.6) * smallest_budget(profile, 4))
    made = plan(profile, budget, 4, has_frontier=False)
    errors = []
    for n in (n for n in (4, 2, 1) if n >= min(profile.min_micro_batch, 4)):
        peak = Peak(profile, n, n < 4)
        errors += [
            sum(o.gradient_error**2 for _, o in chosen_options(profile, c)) ** 0.5
            for c in every_choice(profile)
            if sum(peak.breakdown(c).values()) <= budget
        ]
    if min(errors) > NEGLIGIBLE_ERROR:
        assert made.predicted.gradient_error == pytest.approx(min(errors), rel=1e-3)
    else:
        assert made.predicted.gradient_error <= NEGLIGIBLE_ERROR * (1 + 1e-6)


def test_narrow_frozen_weights_are_half() -> None:
    profile = transformer(1)
    assert Peak(profile, 1).parts["weights"] == 100_000
    assert Peak(profile, 1, frozen_weights="bf16").parts["weights"] == 60_000


def test_copies_that_outlive_steps_are_parts_of_the_peak() -> None:
    profile = replace(transformer(2), state_bytes=4000)
    plain, kept = (plan(profile, 2**30, 4, overhead=overhead_of("cpu", 4000, average)) for average in (False, True))
    assert (plain.predicted.breakdown["best_state"], kept.predicted.breakdown["average"]) == (4000, 4000)
    assert kept.predicted.peak_bytes - plain.predicted.peak_bytes == 4000
    assert "best_state" not in overhead_of("cuda", 4000, has_average=False).parts


def test_evaluation_runs_in_chunks_only_where_every_region_is_used() -> None:
    peak = Peak(transformer(2), 1)
    first, second = peak.operators
    assert peak.evaluation_mode({}) == "exact"
    assert peak.evaluation_mode({first: Storage.B4}) is None
    assert peak.evaluation_mode({first: Storage.B4, second: Storage.B4}) == "region"


def test_an_evaluation_of_a_large_model_is_promised_and_drawn() -> None:
    """What the best choice for its error would break: regions are used for the evaluation's sake."""
    profile = replace(transformer(2), evaluation={"exact": WorkingSet(500_000, 0), "region": WorkingSet(100, 0)})
    made = plan(profile, int(1.02 * smallest_budget(profile, 1)), 1)
    assert any(made.sites[name] is not Storage.NONE for name in Peak(profile, 1).operators)
    assert plan(profile, 2**30, 1).predicted.peak_bytes > 500_000


def test_larger_chunks_take_their_bytes_in_regions_only() -> None:
    made = transformer(1)
    region = replace(made.sites[0], work={"region": (replace(made.sites[0].work["region"][0], chunk_bytes=100_000),)})
    profile = replace(made, sites=(region, *made.sites[1:]))
    used = {region.name: Storage.B4}
    one, four = (max(p.work for p in Peak(profile, 8, True, chunk).course(used)) for chunk in (1, 4))
    assert four - one >= 3 * 100_000 - 20_000
    assert Peak(profile, 8, True, 4).course({}) == Peak(profile, 8).course({})


def test_the_start_is_that_of_the_first_site_used() -> None:
    profile = replace(transformer(1), start={"exact": (Segment(9000, 0, 9000, 0),), "region": (Segment(5, 0, 5, 0),)})
    assert Peak(profile, 1).course({})[0].work == 9000
    assert Peak(profile, 1).course({profile.sites[0].name: Storage.B4})[0].work == 5


def test_an_exact_site_reaches_only_into_what_has_no_turn_of_its_own() -> None:
    """Behind a region that is used, the work between its last site and the exact one is the region's."""
    forward, backward = Segment(0, 10, 0, 10), Segment(0, 90, 0, 90, is_backward=True)
    behind = {"exact": (forward, backward), "region": (Segment(0, 5, 0, 5), Segment(0, 20, 0, 20, is_backward=True))}
    made = transformer(1)
    after = replace(made.sites[-1], work=behind, region=None)
    peak = Peak(profile_of((*made.sites[:-1], after)), 1)
    assert peak.work(after, "exact", is_backward=True) == 90
    assert peak.work(after, "exact", is_backward=True, neighbour="region") == 20
    assert peak.work(after, "codes", is_backward=False, neighbour="region") == 10
    assert peak.work(after, None, is_backward=False) is None


def test_backward_visits_the_sites_in_reverse_and_the_last_points_are_of_the_whole_model() -> None:
    profile = transformer(2)
    made = plan(profile, 2**30, 4)
    points = predicted_course(profile, replace(made, accumulation=2))
    order = {phase: [p.site for p in points if p.phase == phase] for phase in ("forward", "backward")}
    backward = [site for site in order["forward"] if site in order["backward"]]
    assert order["backward"] == backward[::-1]
    assert [p.phase for p in points[-3:]] == ["optimizer", "evaluation", "best state"]


class Segments(Overhead):
    """A device that hands out memory in pieces, as CUDA's allocator does."""

    def slack(self, always: int, moving: int) -> dict[str, int]:
        margin = super().slack(always, moving)
        used = always + moving + sum(margin.values())
        return margin | {"unused": -used % 8192}


def test_a_devices_own_parts_and_rounding_are_solved_and_promised() -> None:
    profile, device = transformer(3), Segments({"context": 50_000, "workspace": 7})
    smallest = smallest_budget(profile, 4, device)
    made = plan(profile, smallest, 4, overhead=device)
    parts = made.predicted.breakdown
    assert (parts["context"], parts["workspace"]) == (50_000, 7)
    assert made.predicted.peak_bytes % 8192 == 0
    assert sum(parts.values()) == made.predicted.peak_bytes <= smallest
    assert max(point.num_bytes for point in predicted_course(profile, made)) == made.predicted.peak_bytes
