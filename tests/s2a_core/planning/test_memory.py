"""What a choice of storages holds for backward."""

from __future__ import annotations

from s2a_core.planning.memory import held_by_site, held_by_storage, held_bytes
from s2a_core.profiling.types import SharedStorage
from s2a_core.storage import Storage
from tests.s2a_core.planning.profiles import profile_of, site, transformer


def test_sites_inside_a_used_region_cost_nothing() -> None:
    profile = transformer(1)
    region = profile.sites[0]
    used = held_bytes(profile, {region.name: Storage.B4}, 1)
    outside = sum(s.options[0].bytes_per_sample for s in profile.sites[1:] if s.region is None)
    assert used == outside + region.options[3].bytes_per_sample


def test_a_tensor_that_exact_sites_share_is_held_once_while_any_keeps_it() -> None:
    sites = (site("a:silu", 400, 1.0), site("b:mul", 300, 1.0), site("c:gelu", 100, 1.0))
    profile = profile_of(sites, shared=(SharedStorage(("b:mul", "a:silu"), 1000, 24),))
    code = sites[0].options[4].bytes_per_sample
    assert held_bytes(profile, {}, 2) == 2 * (400 + 300 + 100 + 1000) + 24
    assert held_bytes(profile, {"a:silu": Storage.B4}, 2) == 2 * (code + 300 + 100 + 1000) + 24
    both = {"a:silu": Storage.B4, "b:mul": Storage.B4}
    assert held_bytes(profile, both, 2) == 2 * (code + sites[1].options[4].bytes_per_sample + 100)
    assert held_by_site(profile, {}, 2)["a:silu"] == 2 * 1400 + 24  # the first in forward order has it


def test_bytes_by_storage_add_up_to_all_that_is_held() -> None:
    profile = transformer(2)
    sites = {profile.sites[0].name: Storage.B4, profile.sites[5].name: Storage.NONE}
    by_storage = held_by_storage(profile, sites, 3)
    assert {"exact", "region b4"} <= set(by_storage)
    assert sum(by_storage.values()) == held_bytes(profile, sites, 3)
