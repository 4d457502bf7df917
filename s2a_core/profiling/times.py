"""What a step's time is made of: a part per sample, a part for any number of them, and a part for every chunk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from s2a_core.compression import SiteSpec
from s2a_core.profiling.device_timing import TimedStep, Timing, per_sample_s
from s2a_core.profiling.runs import Step
from s2a_core.profiling.timeline import per_sample
from s2a_core.storage import WHOLE, Storage

Sites = Mapping[str, Storage]
MOST_GAIN = 0.5  # of a step's time: what larger chunks are believed to save
ROUNDS, ROUNDS_S = 5, 4.0


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

    def line(self, factor: float, more_ms: float) -> Extra:
        """The same with its part per sample on a line: so many times it, and so much more."""
        return replace(self, ms_per_sample=self.ms_per_sample * factor + more_ms)

    def at_least(self, ms_per_sample: float) -> Extra:
        """The same where it is more."""
        return replace(self, ms_per_sample=max(self.ms_per_sample, ms_per_sample))


class Times:
    """On CPU: all sites of an operator together are timed in turn with others, as training runs them, single storages
    by the steps that show their errors, which run once and watch: those are made to add up to their operator's.

    step(sites, samples): runs one that watches; timed_step(sites, samples, chunk): one to time.
    exact_s, small_s: of an exact step that watches, of both batches; overhead_s: of a step for any number of samples.
    operator_ms: what all sites of an operator add to a step, per sample, regions and blocks in chunks of one sample.
    chunk: samples of a chunk where storages are measured; cost: of measuring a storage, in exact steps.
    """

    chunk = 1
    cost = 1.5
    launches = 0

    def __init__(
        self,
        step: Callable[[Sites, int], Step],
        batches: tuple[int, int],
        timed_step: Callable[[Sites, int, int], TimedStep],
    ) -> None:
        self.step, self.batches, self.timed_step = step, batches, timed_step
        self.exact_s = self.small_s = self.overhead_s = 0.0
        self.step_ms_per_sample = 0.0
        self.operator_ms: dict[str, float] = {}
        self.chunk_ms: dict[str, float] = {}
        self.chunk_launches: dict[str, float] = {}

    @property
    def samples(self) -> int:
        """Of the larger batch."""
        return self.batches[1]

    def measure(self, operators: Mapping[str, Sites]) -> None:
        """Times the exact step and, of each operator, one with all its sites stored so.

        Where steps are so long that one of each takes more than ROUNDS_S, those of codes are left out: noise is small
        beside them.
        """
        small, n = self.batches
        self.small_s, self.exact_s = (min(self.step({}, size).seconds for _ in range(2)) for size in self.batches)
        is_slow = len(operators) * self.exact_s > ROUNDS_S
        steps = {("exact", size): self.timed_step({}, size, 1) for size in self.batches}
        for operator, sites in operators.items():
            if operator in WHOLE or not is_slow:
                steps[operator, 1] = self.timed_step(sites, n, 1)
            if operator in WHOLE:
                steps[operator, n] = self.timed_step(sites, n, n)
        seconds = fastest_in_turn(steps)
        at_small, exact = (seconds["exact", size] for size in self.batches)
        slope = per_sample(self.batches, (at_small, exact))
        self.overhead_s = min(max(at_small - small * slope, 0.0), at_small, exact)
        self.step_ms_per_sample = exact * 1e3 / n
        for (operator, chunk), took in seconds.items():
            if operator == "exact":
                continue
            apart = seconds[operator, 1]
            if chunk == 1:
                self.operator_ms[operator] = max(apart - exact, 0.0) * 1e3 / n
            else:
                self.chunk_ms[operator] = min(max(apart - took, 0.0), MOST_GAIN * apart) * 1e3 / (n - 1)

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

    timing: of a step of `timed_step`. It hardly depends on how many bits a code has: of a set of sites the first coded
    width that comes is timed.
    """

    cost = 9.0

    def __init__(
        self,
        step: Callable[[Sites, int], Step],
        batches: tuple[int, int],
        timed_step: Callable[[Sites, int, int], TimedStep],
        timing: Callable[[TimedStep], Timing],
    ) -> None:
        super().__init__(step, batches, timed_step)
        self.timing, self.chunk = timing, batches[1]
        self.of_exact = Timing(0.0, 0.0, 0)
        self._of_codes: dict[frozenset[str], Timing] = {}

    def measure(self, operators: Mapping[str, Sites]) -> None:
        """Times the exact step, and regions and blocks in chunks of one sample and as one chunk.

        A step per sample is the host's and the device's time, as if neither ran beside the other.
        """
        n = self.samples
        small, self.of_exact = (self._timed({}, size, size) for size in self.batches)
        self.overhead_s, self.launches = self.of_exact.host_s, self.of_exact.launches
        self.exact_s = max(self.of_exact.host_s, self.of_exact.device_s)
        device_s = per_sample_s((small, self.of_exact), self.batches)
        self.step_ms_per_sample = self.overhead_s * 1e3 / n + device_s * 1e3
        for whole in WHOLE:
            if whole in operators and n > 1:
                many, one = self._timed(operators[whole], n, 1), self._timed(operators[whole], n, n)
                self.chunk_ms[whole] = max(many.host_s - one.host_s, 0.0) * 1e3 / (n - 1)
                self.chunk_launches[whole] = max(many.launches - one.launches, 0) / (n - 1)

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

    def _timed(self, sites: Sites, samples: int, chunk: int) -> Timing:
        return self.timing(self.timed_step(sites, samples, chunk))

    def _timing_of(self, sites: Sites) -> Timing:
        names = frozenset(sites)
        if not all(storage.bits for storage in sites.values()):
            return self._timed(sites, self.samples, self.samples)
        if names not in self._of_codes:
            self._of_codes[names] = self._timed(sites, self.samples, self.samples)
        return self._of_codes[names]

    def of_whole(self, extra: Extra, spec: SiteSpec, specs: Sequence[SiteSpec]) -> Extra:
        """Of a region or block among these specs, as if it ran in chunks of one sample: each takes as much more."""
        of_chunk = self.chunk_ms.get(spec.op, 0.0) / Counter(other.op for other in specs)[spec.op]
        return replace(extra, ms_per_sample=extra.ms_per_sample + of_chunk, fixed_ms=extra.fixed_ms - of_chunk)


def fastest_in_turn(steps: Mapping[tuple[str, int], TimedStep]) -> dict[tuple[str, int], float]:
    """Seconds of each step, the least of several rounds: what else the machine does slows none more than another.

    One round is run whatever it takes, more while they take less than ROUNDS_S.
    """
    seconds = dict.fromkeys(steps, float("inf"))
    began = time.perf_counter()
    for _ in range(ROUNDS):
        for key, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[key] = min(seconds[key], time.perf_counter() - start)
        if time.perf_counter() - began > ROUNDS_S:
            break
    return seconds
