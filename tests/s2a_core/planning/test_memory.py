"""The parts of a peak."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2a_core.planning.memory import (
    breakdown,
    course,
    evaluation_way,
    held_bytes,
    turns_of,
    weights_bytes,
    work_of,
)
from s2a_core.profiling.types import Segment, SharedStorage
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of, site, transformer


def test_narrow_frozen_weights_are_half() -> None:
    profile = transformer(1)
    assert weights_bytes(profile, "keep") == 100_000
    assert weights_bytes(profile, "bf16") == 60_000


def test_sites_inside_a_used_region_cost_nothing() -> None:
    profile = transformer(1)
    region = profile.sites[0]
    used = held_bytes(profile, {region.name: Storage.B4}, 1)
    outside = sum(s.options[0].bytes_per_sample for s in profile.sites[1:] if s.region is None)
    assert used == outside + region.options[3].bytes_per_sample


def test_parts_add_up_and_grow_with_samples() -> None:
    profile = transformer(2)
    one, two = (sum(breakdown(profile, {}, n, "keep").values()) for n in (1, 2))
    assert two - one >= held_bytes(profile, {}, 1)
    heavier = replace(profile, trainable_params=1000)
    assert sum(breakdown(heavier, {}, 1, "keep").values()) - one == pytest.approx(12 * 500, rel=0.01)


def test_the_peak_is_at_least_every_turn() -> None:
    profile = transformer(3)
    for is_fresh in (True, False):
        parts = breakdown(profile, {}, 4, "keep", accumulates=not is_fresh)
        moving = parts["held"] + parts["working"] + parts["gradients"]
        grads = 0 if is_fresh else 4 * profile.trainable_params
        assert moving == max(m.held + m.work for m in course(profile, {}, 4, is_fresh)) + grads
        assert min(parts.values()) >= 0


def test_a_tensor_that_exact_sites_share_is_held_once_while_any_keeps_it() -> None:
    sites = (site("a:silu", 400, 1.0), site("b:mul", 300, 1.0), site("c:gelu", 100, 1.0))
    profile = profile_of(sites, shared=(SharedStorage(("a:silu", "b:mul"), 1000, 24),))
    code = sites[0].options[4].bytes_per_sample
    assert held_bytes(profile, {}, 2) == 2 * (400 + 300 + 100 + 1000) + 24
    assert held_bytes(profile, {"a:silu": Storage.B4}, 2) == 2 * (code + 300 + 100 + 1000) + 24
    both = {"a:silu": Storage.B4, "b:mul": Storage.B4}
    assert held_bytes(profile, both, 2) == 2 * (code + sites[1].options[4].bytes_per_sample + 100)


def test_evaluation_runs_in_chunks_only_where_every_region_is_used() -> None:
    profile = transformer(2)
    names = [s.name for s in profile.sites if s.op == "region"]
    assert evaluation_way(profile, {names[0]: Storage.B4}) == "exact"
    assert evaluation_way(profile, dict.fromkeys(names, Storage.B4)) == "region"


def test_larger_chunks_take_their_bytes_in_regions_only() -> None:
    made = transformer(1)
    region = replace(made.sites[0], work={"region": (replace(made.sites[0].work["region"][0], chunk_bytes=100_000),)})
    profile = replace(made, sites=(region, *made.sites[1:]))
    used = {region.name: Storage.B4}
    one, four = (max(m.work for m in course(profile, used, 8, False, chunk)) for chunk in (1, 4))
    assert four - one >= 3 * 100_000 - 20_000
    assert course(profile, {}, 8, False, 4) == course(profile, {}, 8, False)


def test_the_start_is_that_of_the_first_site_used() -> None:
    profile = replace(transformer(1), start={"exact": (Segment(9000, 0, 9000, 0),), "region": (Segment(5, 0, 5, 0),)})
    assert course(profile, {}, 1, False)[0].work == 9000
    assert course(profile, {profile.sites[0].name: Storage.B4}, 1, False)[0].work == 5


def test_an_exact_site_reaches_only_into_what_has_no_turn_of_its_own() -> None:
    """Behind a region that is used, the work between its last site and the exact one is the region's."""
    forward, backward = Segment(0, 10, 0, 10), Segment(0, 90, 0, 90, is_backward=True)
    behind = {"exact": (forward, backward), "region": (Segment(0, 5, 0, 5), Segment(0, 20, 0, 20, is_backward=True))}
    after = replace(transformer(1).sites[-1], work=behind)
    assert work_of(after, "exact", 1, False) == (90, True)
    assert work_of(after, "exact", 1, False, beside=("region", None)) == (20, True)
    assert work_of(after, "exact", 1, False, beside=("codes", "region")) == (90, True)
    assert turns_of(after, "exact", (None, "region"))[-1].at(1, False) == 5
    assert turns_of(after, None, (None, None)) == ()
