"""Which sites a choice of storages leaves in use, how each of them runs, and what they hold for backward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from s2a_core.profiling.types import Option, Profile, SiteProfile
from s2a_core.storage import WHOLE, Storage, kept_as

Sites = Mapping[str, Storage]


def is_used(storage: Storage | None) -> bool:
    """Whether a region or block with this storage runs as a whole."""
    return storage is not None and storage is not Storage.NONE


def chosen_options(profile: Profile, sites: Sites) -> Iterator[tuple[SiteProfile, Option]]:
    """Sites that hold something of their own, each with its chosen option; those inside a used region or block do not.

    Sites that the choice does not name are exact, regions and blocks unused.
    """
    for site in profile.sites:
        if any(is_used(sites.get(parent)) for parent in (site.region, site.block) if parent is not None):
            continue
        default = Storage.NONE if site.op in WHOLE else Storage.EXACT
        chosen = sites.get(site.name, default)
        for option in site.options:
            if option.storage is chosen:
                yield site, option


def run_mode(site: SiteProfile, storage: Storage) -> str | None:
    """How a site runs with a storage: exact, codes, region or block; None for a region or block that is not used."""
    if site.op in WHOLE:
        return None if storage is Storage.NONE else site.op
    return "exact" if storage is Storage.EXACT else "codes"


def held_by_site(profile: Profile, sites: Sites, samples: int) -> dict[str, int]:
    """Site -> bytes it holds for backward; a shared tensor once, with the first site that keeps it exact."""
    held: dict[str, int] = {}
    exact = []
    for site, option in chosen_options(profile, sites):
        held[site.name] = option.fixed_bytes + samples * option.bytes_per_sample
        if option.storage is Storage.EXACT:
            exact.append(site.name)
    for tensor in profile.shared:
        holder = next((name for name in exact if name in tensor.sites), None)
        if holder is not None:
            held[holder] += tensor.fixed_bytes + samples * tensor.bytes_per_sample
    return held


def held_bytes(profile: Profile, sites: Sites, samples: int) -> int:
    """Bytes held for backward at the end of forward."""
    return sum(held_by_site(profile, sites, samples).values())


def held_by_storage(profile: Profile, sites: Sites, samples: int) -> dict[str, int]:
    """Bytes held by the sites of each storage, of regions and blocks under `region b8`; shared tensors are exact."""
    held = held_by_site(profile, sites, samples)
    sums: dict[str, int] = {}
    for site, option in chosen_options(profile, sites):
        name = kept_as(site.op if site.op in WHOLE else "", option.storage)
        sums[name] = sums.get(name, 0) + held[site.name]
    return {name: size for name, size in sums.items() if size}
