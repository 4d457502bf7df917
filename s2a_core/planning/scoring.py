"""What a choice of storages costs in gradient error and time, from the profile's measurements.

Errors of sites add as independent noise, so the squared relative errors add (measured: correlation 0.96 in log).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import ceil, sqrt

from s2a_core.planning.memory import chosen_options, held_bytes
from s2a_core.profiling.types import Option, Profile, SiteProfile
from s2a_core.storage import WHOLE, Storage

_FULL_BITS = 32
# Of the measured time per sample: a larger batch is not believed to take less.
LEAST_SHARE = 0.1


def gradient_error(profile: Profile, sites: Mapping[str, Storage]) -> float:
    """Predicted relative L2 error of the trainable gradient."""
    return sqrt(sum(option.gradient_error**2 for _, option in chosen_options(profile, sites)))


def weight_error(profile: Profile, coded: Collection[str]) -> float:
    """Relative L2 error of the trainable gradient that these weights cause by being codes."""
    return sqrt(sum(weight.gradient_error**2 for weight in profile.weights if weight.name in coded))


@dataclass(frozen=True)
class Cut:
    """Micro-batches of so many samples, and regions and blocks in chunks of so many."""

    micro_batch: int
    chunk: int = 1

    @property
    def num_chunks(self) -> int:
        """Of a micro-batch."""
        return ceil(self.micro_batch / self.chunk)


def chunk_gains(profile: Profile, cut: Cut) -> dict[str, float]:
    """Operator -> milliseconds per sample that one region or block saves beside chunks of one sample."""
    alike = Counter(site.op for site in profile.sites)
    share = 1 - cut.num_chunks / cut.micro_batch
    return {op: share * of_chunk / alike[op] for op, of_chunk in profile.chunk_ms.items() if alike[op]}


def extra_ms(site: SiteProfile, option: Option, gains: Mapping[str, float], micro_batch: int) -> float:
    """Milliseconds per sample that a storage adds to an exact step. gains: of `chunk_gains`.

    The host's and the device's part add up, so that they can be minimised together; `step_ms` knows better.
    """
    gain = 0.0 if option.storage is Storage.NONE else gains.get(site.op, 0.0)
    return max(option.extra_ms_per_sample - gain + option.fixed_ms / micro_batch, 0.0)


def exact_ms(profile: Profile, micro_batch: int) -> float:
    """Milliseconds per sample of an exact step in micro-batches of so many samples."""
    more = profile.step_overhead_ms * (1 / micro_batch - 1 / profile.chunk_samples)
    least = 0.0 if profile.launches else LEAST_SHARE * profile.step_ms_per_sample
    return max(profile.step_ms_per_sample + more, least, 1e-9)


def device_step_ms(profile: Profile, sites: Mapping[str, Storage], cut: Cut) -> tuple[float, float]:
    """Milliseconds per sample of a step on CUDA that the host needs, and that the device needs."""
    alike = Counter(site.op for site in profile.sites)
    host = profile.step_overhead_ms / cut.micro_batch
    device = profile.step_ms_per_sample - profile.step_overhead_ms / profile.chunk_samples
    for site, option in chosen_options(profile, sites):
        of_chunk = profile.chunk_ms.get(site.op, 0.0) / alike[site.op] if option.storage is not Storage.NONE else 0.0
        host += (option.fixed_ms + of_chunk * cut.num_chunks) / cut.micro_batch
        device += option.extra_ms_per_sample - of_chunk
    return max(host, 0.0), max(device, 0.0)


def step_ms(profile: Profile, sites: Mapping[str, Storage], cut: Cut) -> float:
    """Milliseconds per sample of a step. On CUDA host and device work side by side: the busier one decides."""
    if profile.launches:
        return max(*device_step_ms(profile, sites, cut), 1e-9)
    gains = chunk_gains(profile, cut)
    extra = sum(extra_ms(site, option, gains, cut.micro_batch) for site, option in chosen_options(profile, sites))
    return exact_ms(profile, cut.micro_batch) + extra


def relative_step_time(
    profile: Profile, sites: Mapping[str, Storage], cut: Cut | None = None, batch_size: int = 0
) -> float:
    """Predicted time of a step over the exact step of the same adapter and batch at once.

    cut, batch_size: of as many samples as were measured where they are not given.
    """
    measured = Cut(profile.chunk_samples)
    return step_ms(profile, sites, cut or measured) / step_ms(profile, {}, Cut(batch_size) if batch_size else measured)


def launches(profile: Profile, sites: Mapping[str, Storage], cut: Cut, batch_size: int) -> int | None:
    """Kernels that the micro-batches of a step launch; None on CPU."""
    if not profile.launches:
        return None
    alike = Counter(site.op for site in profile.sites)
    total = float(profile.launches)
    for site, option in chosen_options(profile, sites):
        if option.storage is not Storage.NONE:
            more = profile.chunk_launches.get(site.op, 0.0) / alike[site.op]
            total += option.launches + more * (cut.num_chunks - 1)
    return round(total * ceil(batch_size / cut.micro_batch))


def is_host_bound(profile: Profile, sites: Mapping[str, Storage], cut: Cut) -> bool | None:
    """Whether the device waits for the host's launches; None on CPU."""
    if not profile.launches:
        return None
    host, device = device_step_ms(profile, sites, cut)
    return host > device


def mean_bits(profile: Profile, sites: Mapping[str, Storage]) -> float:
    """Bits held per element that an exact run would hold."""
    exact = held_bytes(profile, {s.name: Storage.NONE for s in profile.sites if s.op in WHOLE}, 1)
    width = 16 if profile.precision == "bf16" else _FULL_BITS
    return width * held_bytes(profile, sites, 1) / exact if exact else 0.0
