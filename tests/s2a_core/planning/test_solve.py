"""The integer program equals trying everything, and is fast."""

from __future__ import annotations

import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from s2a_core.planning.memory import held_per_sample
from s2a_core.planning.solve import choose
from s2a_core.profiling.types import Option, Profile, SiteProfile
from tests.s2a_core.planning.profiles import profile_of, site, transformer, whole


def error(_: SiteProfile, option: Option) -> float:
    return option.gradient_error**2


def everything(*_: object) -> bool:
    return True


def brute_force(profile: Profile, capacity: float) -> float | None:
    """The least sum of squared errors over every choice, absorbed sites left out."""
    best = None
    for options in itertools.product(*(s.options for s in profile.sites)):
        chosen = {s.name: o for s, o in zip(profile.sites, options, strict=True)}
        storages = {name: o.storage for name, o in chosen.items()}
        if held_per_sample(profile, storages) - profile.unlisted_bytes_per_sample > capacity:
            continue
        cost = 0.0
        for s in profile.sites:
            if s.region is None or storages[s.region] == "none":
                cost += error(s, chosen[s.name])
        best = cost if best is None else min(best, cost)
    return best


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(500, 5000), min_size=2, max_size=2),
    scales=st.lists(st.floats(0.1, 3), min_size=3, max_size=3),
    capacity=st.integers(0, 12000),
)
def test_small_instances_equal_brute_force(sizes: list[int], scales: list[float], capacity: int) -> None:
    region = whole("r:region", "region", 2000, scales[2])
    sites = (site("a:gelu", sizes[0], scales[0]), region, site("b:gelu", sizes[1], scales[1], "r:region"))
    profile = profile_of(sites)
    solution, best = choose(sites, capacity, error, everything), brute_force(profile, capacity)
    if best is None:
        assert solution is None
    else:
        assert solution is not None
        assert solution.cost <= best * (1 + 1e-3) + 1e-9
        assert solution.bytes_per_sample <= capacity + 1


def test_a_used_region_takes_the_sites_inside_out() -> None:
    profile = transformer(3)
    solution = choose(profile.sites, 10_000, error, everything)
    assert solution is not None
    assert held_per_sample(profile, solution.sites) - profile.unlisted_bytes_per_sample == solution.bytes_per_sample
    assert all(s.name not in solution.sites for s in profile.sites if s.region and solution.sites[s.region] != "none")


def test_four_hundred_sites_take_under_two_seconds() -> None:
    profile = transformer(80)
    assert len(profile.sites) == 400
    start = time.process_time()
    solution = choose(profile.sites, 600_000, error, everything)
    assert time.process_time() - start < 2
    assert solution is not None
    assert solution.report.gap <= 1e-4
    assert solution.report.status == "optimal"
