"""One width everywhere: what a planner must beat."""

from __future__ import annotations

from dataclasses import replace

from s2a_core.planning.chunks import chunk_sizes
from s2a_core.planning.peak import Peak
from s2a_core.profiling.types import Profile, WorkingSet
from s2a_core.storage import FrozenWeights, Storage, uniform_storage


def uniform_choice(profile: Profile, bits: int, samples: int, recompute: bool) -> tuple[dict[str, Storage], Peak]:
    """Every site at `bits`, as `uniform_storage` has it, and the peak of one batch in the smallest chunks."""
    sites = {
        site.name: uniform_storage(site.op, site.shape, [option.storage for option in site.options], bits, recompute)
        for site in profile.sites
    }
    frozen: FrozenWeights = "bf16" if profile.precision == "bf16" else "keep"
    return sites, Peak(profile, samples, False, chunk_sizes(profile, samples)[0], frozen)


def held_only(profile: Profile) -> Profile:
    """The profile as if nothing but what sites hold took memory: to compare choices at the same held bytes."""
    sites = tuple(replace(site, work={}) for site in profile.sites)
    none = {"exact": WorkingSet(0, 0)}
    return replace(profile, sites=sites, live=(), start={}, evaluation=none, trainable_params=0, optimizer_bytes=0)
