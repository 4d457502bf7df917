"""The integer program equals trying everything, and is fast."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from s2a_core.planning.peak import Peak
from s2a_core.planning.search import plan, smallest_budget
from s2a_core.planning.solve import Program
from s2a_core.profiling.types import Option, Profile, Segment, SharedStorage, SiteProfile, WeightProfile
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of, site, transformer, whole


def error(_: SiteProfile, option: Option) -> float:
    return option.gradient_error**2


def peak(profile: Profile, samples: int, is_fresh: bool) -> Peak:
    return Peak(profile, samples, accumulates=not is_fresh)


def peak_of(profile: Profile, storages: dict[str, Storage], samples: int, is_fresh: bool) -> int:
    return max(point.moving for point in peak(profile, samples, is_fresh).course(storages))


def brute_force(profile: Profile, capacity: float, samples: int, is_fresh: bool) -> tuple[float | None, int]:
    """The least sum of squared errors over every choice that fits, and the smallest peak of any choice."""
    best, smallest = None, 2**62
    for options in itertools.product(*(s.options for s in profile.sites)):
        storages = {s.name: o.storage for s, o in zip(profile.sites, options, strict=True)}
        peak = peak_of(profile, storages, samples, is_fresh)
        smallest = min(smallest, peak)
        if peak > capacity:
            continue
        cost = 0.0
        for s, o in zip(profile.sites, options, strict=True):
            if s.region is None or storages[s.region] == "none":
                cost += error(s, o)
        best = cost if best is None else min(best, cost)
    return best, smallest


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(500, 5000), min_size=2, max_size=2),
    scales=st.lists(st.floats(0.1, 3), min_size=3, max_size=3),
    shared=st.integers(0, 3000),
    share=st.floats(0.0, 1.2),
    samples=st.integers(1, 3),
    is_fresh=st.booleans(),
)
def test_small_instances_equal_brute_force(
    sizes: list[int], scales: list[float], shared: int, share: float, samples: int, is_fresh: bool
) -> None:
    region = whole("r:region", "region", 2000, scales[2])
    sites = (site("a:gelu", sizes[0], scales[0]), region, site("b:gelu", sizes[1], scales[1], "r:region"))
    profile = profile_of(sites, shared=(SharedStorage(("a:gelu", "b:gelu"), shared, 10),))
    exact = peak_of(profile, {}, samples, is_fresh)
    _, smallest = brute_force(profile, 0.0, samples, is_fresh)
    capacity = smallest + share * (exact - smallest) + 1
    program = Program(peak(profile, samples, is_fresh))
    solution, (best, _) = program.solve(capacity, error), brute_force(profile, capacity, samples, is_fresh)
    assert best is not None
    assert solution is not None
    assert solution.cost <= best * (1 + 1e-3) + 1e-9
    assert peak_of(profile, solution.sites, samples, is_fresh) <= capacity
    assert program.solve(smallest * 0.98, error) is None
    least = program.solve(None, None)
    assert least is not None
    assert peak_of(profile, least.sites, samples, is_fresh) <= smallest * 1.001


def with_codes(profile: Profile, seed: int, share_decoded: float) -> Profile:
    """The same model with coded weights: less of it always there, decoded layers in the turns of some sites."""
    draw = random.Random(seed)

    def decoding(site_: SiteProfile) -> SiteProfile:
        if draw.random() >= share_decoded:
            return site_
        layer = draw.randrange(1000, 9000)
        work = {mode: tuple(_with_layer(turn, layer) for turn in turns) for mode, turns in site_.work.items()}
        return replace(site_, work=work)

    sites = tuple(map(decoding, profile.sites))
    return replace(profile, sites=sites, params_bytes=profile.params_bytes // 4, weight_format="int8")


def _with_layer(turn: Segment, layer: int) -> Segment:
    fixed, fresh = turn.fixed_bytes + layer, turn.fresh_fixed_bytes + layer
    return replace(turn, fixed_bytes=fixed, fresh_fixed_bytes=fresh)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), samples=st.integers(1, 3), is_fresh=st.booleans())
def test_with_decoded_layers_small_instances_equal_brute_force_and_cost_less_with_room(
    seed: int, samples: int, is_fresh: bool
) -> None:
    draw = random.Random(seed)
    region = whole("r:region", "region", draw.randrange(1000, 5000), draw.uniform(0.1, 3))
    first, second = (site(f"{name}:gelu", draw.randrange(500, 5000), draw.uniform(0.1, 3)) for name in "ab")
    with_numbers = profile_of((first, region, replace(second, region="r:region")))
    profile = with_codes(with_numbers, seed, 0.7)
    exact = peak_of(profile, {}, samples, is_fresh)
    _, smallest = brute_force(profile, 0.0, samples, is_fresh)
    program = Program(peak(profile, samples, is_fresh))
    assert program.solve(smallest * 0.98, error) is None
    costs = []
    for share in (0.0, 0.3, 0.7, 1.1):
        capacity = smallest + share * (exact - smallest) + 1
        solution, (best, _) = program.solve(capacity, error), brute_force(profile, capacity, samples, is_fresh)
        assert solution is not None
        assert best is not None
        assert best - 1e-9 <= solution.cost <= best * (1 + 1e-3) + 1e-9
        assert all(point.moving <= capacity for point in peak(profile, samples, is_fresh).course(solution.sites))
        costs.append(solution.cost)
    assert all(roomier <= tighter * (1 + 1e-3) + 1e-9 for tighter, roomier in itertools.pairwise(costs))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), samples=st.integers(1, 3), is_fresh=st.booleans())
def test_weights_that_may_stay_numbers_are_chosen_with_the_sites(seed: int, samples: int, is_fresh: bool) -> None:
    """As the best of every choice of weights beside every choice of storages."""
    draw = random.Random(seed)
    sites = tuple(site(f"{name}:gelu", draw.randrange(500, 5000), draw.uniform(0.1, 3)) for name in "ab")
    weights = tuple(
        WeightProfile(f"{k}.weight", draw.choice((700, 1500, 4000)), draw.choice((0.002, 0.02, 0.2))) for k in range(4)
    )
    profile = replace(profile_of(sites), weights=weights, weight_format="int8")
    names = [weight.name for weight in weights[:3]]  # the last one may not
    program = Program(peak(profile, samples, is_fresh), names)
    _, smallest = brute_force(profile, 0.0, samples, is_fresh)
    least = program.solve(None, None)
    assert least is not None
    assert least.wide_weights == ()
    assert least.peak_bytes <= smallest * 1.001
    for share in (0.0, 0.4, 1.0, 2.0):
        capacity = smallest + share * (peak_of(profile, {}, samples, is_fresh) - smallest) + 1
        best = float("inf")
        for choice in itertools.product((False, True), repeat=3):
            wide = sum(weight.wide_bytes for weight, is_wide in zip(weights, choice, strict=False) if is_wide)
            coded = sum(w.gradient_error**2 for w, is_wide in zip(weights, choice, strict=False) if not is_wide)
            of_sites, _ = brute_force(profile, capacity - wide, samples, is_fresh)
            best = best if of_sites is None else min(best, of_sites + coded)
        solution = program.solve(capacity, error)
        assert solution is not None
        assert best - 1e-9 <= solution.cost <= best * (1 + 1e-3) + 1e-9
        assert set(solution.wide_weights) <= set(names)
        chosen = replace(program.peak, wide_weights=solution.wide_weights)
        assert chosen.moving(solution.sites) == solution.peak_bytes <= capacity
        assert sum(chosen.breakdown(solution.sites).values()) == chosen.total(solution.peak_bytes)


def test_a_capacity_of_exactly_the_smallest_peak_is_enough() -> None:
    """The solver's tolerance is taken off the capacity only where it was used."""
    sites = (site("a:gelu", 515, 1.0), whole("r:region", "region", 2000, 1.0), site("b:gelu", 501, 1.0, "r:region"))
    profile = profile_of(sites, shared=(SharedStorage(("a:gelu", "b:gelu"), 0, 10),))
    _, smallest = brute_force(profile, 0.0, 1, False)
    for more in (0, 1):
        solution = Program(peak(profile, 1, False)).solve(smallest + more, error)
        best, _ = brute_force(profile, smallest + more, 1, False)
        assert solution is not None
        assert solution.cost == best
        assert solution.peak_bytes <= smallest + more


def test_a_used_region_takes_the_sites_inside_out() -> None:
    profile = transformer(3)
    solution = Program(peak(profile, 1, False)).solve(12_000, error)
    assert solution is not None
    assert all(s.name not in solution.sites for s in profile.sites if s.region and solution.sites[s.region] != "none")


def test_a_relaxed_solution_costs_no_more_and_a_cap_on_the_error_holds() -> None:
    profile = transformer(4)
    program = Program(peak(profile, 2, False))
    exact, relaxed = program.solve(60_000, error), program.solve(60_000, error, is_relaxed=True)
    assert exact is not None
    assert relaxed is not None
    assert relaxed.cost <= exact.cost * (1 + 1e-6)
    capped = program.solve(60_000, lambda s, o: o.extra_ms_per_sample, max_error=1.1 * exact.cost**0.5)
    assert capped is not None
    chosen = [(s, o) for s in profile.sites for o in s.options if capped.sites.get(s.name) is o.storage]
    assert sum(error(s, o) for s, o in chosen) <= 1.21 * exact.cost * (1 + 1e-6)


def test_four_hundred_sites_take_under_two_seconds() -> None:
    profile = transformer(80)
    assert len(profile.sites) == 400
    start = time.process_time()
    solution = Program(peak(profile, 1, False)).solve(600_000, error)
    assert time.process_time() - start < 2
    assert solution is not None
    assert solution.report.gap <= 1e-4
    assert solution.report.status == "optimal"
    assert solution.peak_bytes <= 600_000


def test_a_plan_of_four_hundred_sites_and_two_hundred_weights_takes_under_three_seconds() -> None:
    draw = random.Random(0)
    weights = tuple(
        WeightProfile(f"{k}.weight", (4000, 16_000)[k % 2], 0.2 * 2 ** (draw.randrange(12) / 4)) for k in range(200)
    )
    profile = replace(with_codes(transformer(80), 0, 0.5), weights=weights)
    budget = int(1.3 * smallest_budget(profile, 4))
    start = time.process_time()
    made = plan(profile, budget, 4, has_frontier=False, widenable=[weight.name for weight in weights])
    assert time.process_time() - start < 3
    assert 0 < len(made.wide_weights) < 200
    assert made.predicted.peak_bytes <= budget


def test_a_plan_of_four_hundred_sites_half_of_which_decode_a_layer_takes_under_three_seconds() -> None:
    profile = with_codes(transformer(80), 0, 0.5)
    budget = int(1.3 * smallest_budget(profile, 4))
    start = time.process_time()
    made = plan(profile, budget, 4, has_frontier=False)
    assert time.process_time() - start < 3
    assert made.predicted.peak_bytes <= budget
