"""What a choice of storages costs in gradient error and time, from the profile's measurements.

Errors of sites add as independent noise, so the squared relative errors add (measured: correlation 0.96 in log).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import sqrt

from s2a_core.planning.memory import chosen_options, held_bytes
from s2a_core.profiling.types import Option, Profile, SiteProfile
from s2a_core.storage import WHOLE, Storage

_FULL_BITS = 32
# Of the measured time per sample: a larger batch is not believed to take less.
LEAST_SHARE = 0.1


def gradient_error(profile: Profile, sites: Mapping[str, Storage]) -> float:
    """Predicted relative L2 error of the trainable gradient."""
    return sqrt(sum(option.gradient_error**2 for _, option in chosen_options(profile, sites)))


def chunk_gains(profile: Profile, chunk: int) -> dict[str, float]:
    """Operator -> milliseconds per sample that one region or block saves in chunks of `chunk` samples."""
    if chunk == 1:
        return {}
    alike = Counter(site.op for site in profile.sites)
    return {op: gain / alike[op] for op, gain in profile.chunk_gain_ms.items() if alike[op]}


def extra_ms(site: SiteProfile, option: Option, gains: Mapping[str, float]) -> float:
    """Milliseconds per sample that a storage adds to an exact step. gains: of `chunk_gains`."""
    gain = 0.0 if option.storage is Storage.NONE else gains.get(site.op, 0.0)
    return max(option.extra_ms_per_sample - gain, 0.0)


def exact_ms(profile: Profile, micro_batch: int) -> float:
    """Milliseconds per sample of an exact step in micro-batches of so many samples."""
    more = profile.step_overhead_ms * (1 / micro_batch - 1 / profile.chunk_samples)
    return max(profile.step_ms_per_sample + more, LEAST_SHARE * profile.step_ms_per_sample, 1e-9)


def relative_step_time(
    profile: Profile, sites: Mapping[str, Storage], chunk: int = 1, micro_batch: int = 0, batch_size: int = 0
) -> float:
    """Predicted time of a step over the exact step of the same adapter and batch at once.

    micro_batch, batch_size: 0 for as many samples as were measured.
    """
    gains, measured = chunk_gains(profile, chunk), profile.chunk_samples
    extra = sum(extra_ms(site, option, gains) for site, option in chosen_options(profile, sites))
    return (exact_ms(profile, micro_batch or measured) + extra) / exact_ms(profile, batch_size or measured)


def mean_bits(profile: Profile, sites: Mapping[str, Storage]) -> float:
    """Bits held per element that an exact run would hold."""
    exact = held_bytes(profile, {s.name: Storage.NONE for s in profile.sites if s.op in WHOLE}, 1)
    width = 16 if profile.precision == "bf16" else _FULL_BITS
    return width * held_bytes(profile, sites, 1) / exact if exact else 0.0
