"""One width everywhere: what a planner must beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from s2a_core.planning.chunks import chunk_sizes
from s2a_core.planning.peak import Peak
from s2a_core.planning.scoring import Cut, gradient_error, is_host_bound, launches, mean_bits, relative_step_time
from s2a_core.profiling.types import Profile, WorkingSet
from s2a_core.storage import FrozenWeights, Storage, uniform_storage


@dataclass(frozen=True)
class UniformChoice:
    """Every site at `bits` in one batch, as `uniform_storage` has it, and what that comes to."""

    profile: Profile
    bits: int
    samples: int
    recompute: bool

    @cached_property
    def sites(self) -> dict[str, Storage]:
        """Site -> its storage."""
        return {
            site.name: uniform_storage(
                site.op, site.shape, [option.storage for option in site.options], self.bits, self.recompute
            )
            for site in self.profile.sites
        }

    @property
    def frozen_weights(self) -> FrozenWeights:
        """How frozen weights are stored."""
        return "bf16" if self.profile.precision == "bf16" else "keep"

    @property
    def cut(self) -> Cut:
        """The smallest chunks that plans may have."""
        return Cut(self.samples, chunk_sizes(self.profile, self.samples)[0])

    @cached_property
    def breakdown(self) -> dict[str, int]:
        """The named parts of its peak in bytes."""
        peak = Peak(self.profile, self.samples, False, self.cut.chunk, self.frozen_weights)
        return peak.breakdown(self.sites)

    @property
    def gradient_error(self) -> float:
        """Predicted relative L2 error of the trainable gradient."""
        return gradient_error(self.profile, self.sites)

    @property
    def relative_step_time(self) -> float:
        """Predicted time of a step over the exact one's."""
        return relative_step_time(self.profile, self.sites, self.cut, self.samples)

    @property
    def launches(self) -> int | None:
        """Kernels of a step; None on CPU."""
        return launches(self.profile, self.sites, self.cut, self.samples)

    @property
    def is_host_bound(self) -> bool | None:
        """Whether the device waits for the host's launches; None on CPU."""
        return is_host_bound(self.profile, self.sites, self.cut)

    @property
    def mean_bits(self) -> float:
        """Bits held per element that an exact run would hold."""
        return mean_bits(self.profile, self.sites)


def held_only(profile: Profile) -> Profile:
    """The profile as if nothing but what sites hold took memory: to compare choices at the same held bytes."""
    sites = tuple(replace(site, work={}) for site in profile.sites)
    none = {"exact": WorkingSet(0, 0)}
    return replace(profile, sites=sites, start={}, evaluation=none, trainable_params=0, optimizer_bytes=0)
