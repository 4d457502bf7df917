"""What a choice of storages costs in gradient error and time, from the profile's measurements.

Errors of sites add as independent noise, so the squared relative errors add (measured: correlation 0.96 in log).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt

from s2a_core.profiling.types import Option, Profile, SiteProfile
from s2a_core.storage import Storage

_FULL_BITS = 32


def used_options(profile: Profile, sites: Mapping[str, Storage]) -> Iterator[tuple[SiteProfile, Option]]:
    """Sites that hold something of their own, each with its chosen option."""
    for site in profile.sites:
        if any(p is not None and sites.get(p, Storage.NONE) is not Storage.NONE for p in (site.region, site.block)):
            continue
        default = Storage.NONE if site.op in ("region", "block") else Storage.EXACT
        chosen = sites.get(site.name, default)
        for option in site.options:
            if option.storage is chosen:
                yield site, option


def gradient_error(profile: Profile, sites: Mapping[str, Storage]) -> float:
    """Predicted relative L2 error of the trainable gradient."""
    return sqrt(sum(option.gradient_error**2 for _, option in used_options(profile, sites)))


def relative_step_time(profile: Profile, sites: Mapping[str, Storage]) -> float:
    """Predicted time of a step over the exact step of the same adapter."""
    extra = sum(option.extra_ms_per_sample for _, option in used_options(profile, sites))
    return 1.0 + extra / max(profile.step_ms_per_sample, 1e-9)


def mean_bits(profile: Profile, sites: Mapping[str, Storage]) -> float:
    """Bits held per element that an exact run would hold, over the sites outside regions and blocks' own entries."""
    held = sum(option.bytes_per_sample for _, option in used_options(profile, sites))
    exact = sum(site.options[0].bytes_per_sample for site in profile.sites if site.op not in ("region", "block"))
    width = 16 if profile.precision == "bf16" else _FULL_BITS
    return width * held / exact if exact else 0.0
