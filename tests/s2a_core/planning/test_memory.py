"""The parts of a peak."""

from __future__ import annotations

from dataclasses import replace

from s2a_core.planning.memory import breakdown, held_per_sample, weights_bytes
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import transformer


def test_narrow_frozen_weights_are_half() -> None:
    profile = transformer(1)
    assert weights_bytes(profile, "keep") == 100_000
    assert weights_bytes(profile, "bf16") == 60_000


def test_sites_inside_a_used_region_cost_nothing() -> None:
    profile = transformer(1)
    region = profile.sites[0]
    used = held_per_sample(profile, {region.name: Storage.B4})
    outside = sum(s.options[0].bytes_per_sample for s in profile.sites[1:] if s.region is None)
    assert used == outside + region.options[3].bytes_per_sample + profile.unlisted_bytes_per_sample


def test_parts_add_up_and_grow_with_samples() -> None:
    profile = transformer(2)
    one, two = (sum(breakdown(profile, {}, n, "keep").values()) for n in (1, 2))
    assert two - one >= held_per_sample(profile, {})
    heavier = replace(profile, trainable_params=1000)
    assert sum(breakdown(heavier, {}, 1, "keep").values()) - one == 12 * 500
