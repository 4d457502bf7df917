"""What a step's time is made of: a part per sample, a part for any number of them, and a part for every chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from s2a_core.compression import SiteSpec
from s2a_core.profiling.device_timing import Timing, per_sample_s
from s2a_core.profiling.runs import Step
from s2a_core.storage import Storage

Sites = Mapping[str, Storage]
MOST_GAIN = 0.5  # of a step's time: what larger chunks are believed to save


@dataclass(frozen=True)
class Extra:
    """What one storage of one site adds to an exact step, as `Option` has it."""

    ms_per_sample: float = 0.0
    fixed_ms: float = 0.0
    launches: float = 0.0

    @property
    def ms(self) -> float:
        """Of one sample alone."""
        return self.ms_per_sample + self.fixed_ms

    def at_least(self, ms_per_sample: float) -> Extra:
        """The same where it is more."""
        return replace(self, ms_per_sample=max(self.ms_per_sample, ms_per_sample))


class Times:
    """On CPU: of the very steps that show bytes and errors, in chunks of one sample each.

    step(sites, samples): runs one. exact_s: of an exact step of all samples, overhead_s of it for any number of them.
    chunk: samples of a chunk where storages are measured; cost: of measuring a storage, in exact steps.
    """

    chunk = 1
    cost = 1.5
    launches = 0

    def __init__(self, step: Callable[[Sites, int], Step], batches: tuple[int, int]) -> None:
        self.step, self.batches = step, batches
        self.exact_s = self.small_s = self.overhead_s = 0.0
        self.chunk_ms: dict[str, float] = {}
        self.chunk_launches: dict[str, float] = {}

    @property
    def samples(self) -> int:
        """Of the larger batch."""
        return self.batches[1]

    @property
    def step_ms_per_sample(self) -> float:
        """Of an exact step of all samples."""
        return self.exact_s * 1e3 / self.samples

    def exact(self) -> None:
        """Measures the exact step; its gradient is left behind."""
        self.small_s = small = min(self.step({}, self.batches[0]).seconds for _ in range(2))
        self.exact_s = self.step({}, self.samples).seconds
        large = min(self.exact_s, self.step({}, self.samples).seconds)
        per_sample = (large - small) / (self.batches[1] - self.batches[0])
        self.overhead_s = min(max(small - self.batches[0] * per_sample, 0.0), small, self.exact_s)

    def chunks(self, mode: str, sites: Sites, apart: Step, together: Step) -> None:
        """A way of running in chunks of one sample, and as one chunk."""
        saved = max(apart.seconds - together.seconds, 0.0)
        self.chunk_ms[mode] = min(saved, MOST_GAIN * apart.seconds) * 1e3 / max(self.samples - 1, 1)

    def exact_of(self, samples: int) -> float:
        """Seconds of an exact step of either batch."""
        return self.exact_s if samples == self.samples else self.small_s

    def extra(self, sites: Sites, step: Step, samples: int) -> Extra:
        """Of each of these sites. step: of so many samples with them."""
        return Extra(max(step.seconds - self.exact_of(samples), 0.0) * 1e3 / len(sites) / samples)

    def of_whole(self, extra: Extra, spec: SiteSpec, specs: Sequence[SiteSpec]) -> Extra:
        """Of a region or block among these specs, as if it ran in chunks of one sample."""
        return extra


class DeviceTimes(Times):
    """On CUDA: the host's part for any number of samples, the device's part per sample, as one chunk.

    timing(sites, samples, chunk): of a step. It hardly depends on how many bits a code has: of a set of sites the
    first coded width that comes is timed.
    """

    cost = 9.0

    def __init__(
        self, step: Callable[[Sites, int], Step], batches: tuple[int, int], timing: Callable[[Sites, int, int], Timing]
    ) -> None:
        super().__init__(step, batches)
        self.timing, self.chunk = timing, batches[1]
        self.of_exact, self.device_s = Timing(0.0, 0.0, 0), 0.0
        self._of_codes: dict[frozenset[str], Timing] = {}

    @property
    def step_ms_per_sample(self) -> float:
        """The host's and the device's time of an exact step, as if neither ran beside the other."""
        return self.overhead_s * 1e3 / self.samples + self.device_s * 1e3

    def exact(self) -> None:
        """Measures the exact step; its gradient is left behind."""
        small, self.of_exact = (self.timing({}, n, n) for n in self.batches)
        self.device_s = per_sample_s((small, self.of_exact), self.batches)
        self.overhead_s, self.launches = self.of_exact.host_s, self.of_exact.launches
        self.exact_s = max(self.of_exact.host_s, self.of_exact.device_s)
        self.step({}, self.samples)

    def chunks(self, mode: str, sites: Sites, apart: Step, together: Step) -> None:
        """A way of running in chunks of one sample, and as one chunk."""
        n = self.samples
        many, one = self.timing(sites, n, 1), self.timing(sites, n, n)
        self.chunk_ms[mode] = max(many.host_s - one.host_s, 0.0) * 1e3 / max(n - 1, 1)
        self.chunk_launches[mode] = max(many.launches - one.launches, 0) / max(n - 1, 1)

    def exact_of(self, samples: int) -> float:
        """Seconds of an exact step, by that of all samples: the host's part, the most of it, is for any number."""
        return self.exact_s

    def extra(self, sites: Sites, step: Step, samples: int) -> Extra:
        """Of each of these sites, timed with all samples."""
        of, exact, num = self._timing_of(sites), self.of_exact, len(sites)
        one_launch_s = exact.host_s / max(exact.launches, 1)  # the host does something at every site, noise or not
        return Extra(
            max(of.device_s - exact.device_s, 0.0) * 1e3 / num / self.samples,
            max((of.host_s - exact.host_s) / num, one_launch_s) * 1e3,
            (of.launches - exact.launches) / num,
        )

    def _timing_of(self, sites: Sites) -> Timing:
        names = frozenset(sites)
        if not all(storage.bits for storage in sites.values()):
            return self.timing(sites, self.samples, self.samples)
        if names not in self._of_codes:
            self._of_codes[names] = self.timing(sites, self.samples, self.samples)
        return self._of_codes[names]

    def of_whole(self, extra: Extra, spec: SiteSpec, specs: Sequence[SiteSpec]) -> Extra:
        """Of a region or block among these specs, as if it ran in chunks of one sample: each takes as much more."""
        of_chunk = self.chunk_ms.get(spec.op, 0.0) / Counter(other.op for other in specs)[spec.op]
        return replace(extra, ms_per_sample=extra.ms_per_sample + of_chunk, fixed_ms=extra.fixed_ms - of_chunk)
