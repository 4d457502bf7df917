"""The real steps of one profile, all on one batch: ways of running, shared storages, errors and times of storages."""

from __future__ import annotations

import copy
import functools
import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import prod

from torch import Tensor, nn

from s2a_core.batches import Samples, repeated
from s2a_core.compression import SiteSpec
from s2a_core.compression.saved import MIN_CODED_ELEMENTS
from s2a_core.operators import OPERATORS
from s2a_core.operators.batch_norm import batch_norms, uses_batch_statistics
from s2a_core.profiling.device_timing import Reference, TimedStep, Timing, timed, training_step
from s2a_core.profiling.live import LiveTensor
from s2a_core.profiling.living import Lives, live_tensors, lives, without_live
from s2a_core.profiling.progress import WAY_WORDS, stage
from s2a_core.profiling.runs import Step, evaluation_peak, run_step
from s2a_core.profiling.sensitivity import between, groups, linear_bytes, ordered
from s2a_core.profiling.sharing import outside, shared_storages, with_unlisted
from s2a_core.profiling.storages import Measured, StorageErrors
from s2a_core.profiling.timeline import (
    chunk_slope,
    chunked,
    held_until,
    line,
    segments,
    two_batches,
    upper_segments,
    with_moments,
)
from s2a_core.profiling.times import DeviceTimes, Extra, Times
from s2a_core.profiling.types import Option, Segment, SharedStorage, SiteProfile, Work, WorkingSet
from s2a_core.profiling.weights import MOST_S, weight_errors
from s2a_core.storage import WHOLE, FittedTable, FrozenWeights, Storage, StoragePolicy
from s2a_core.train.types import OnEvent

# Where BatchNorm normalises by the batch at hand fewer samples train worse (Wu & He 2018, figure 1: 23.7 % error at 16,
# 24.8 % at 8, 34.7 % at 2).
FEWEST_TO_ESTIMATE = 16
AMONG_S = 3.0
BYTES_PER_MS = 1e9  # that no device codes faster: where noise hides what a storage costs, exact is still cheaper
PACKED = (*WHOLE, *(name for name, operator in OPERATORS.items() if operator.packs))


class Measuring:
    """Call `ways`, then `sites`; then `specs`, `work`, `shared`, `live` and `site_profile` hold the results."""

    def __init__(
        self, model: nn.Module, x: Tensor | Samples, y: Tensor | Samples, precision: str, specs: Sequence[SiteSpec],
        frozen: FrozenWeights, tables: tuple[FittedTable, ...] = (), on_event: OnEvent = lambda event: None,
    ) -> None:  # fmt: skip
        self.model, self.x, self.y, self.precision, self.frozen, self.tables = model, x, y, precision, frozen, tables
        self.specs, self.batches, self.on_event = tuple(specs), two_batches(len(x)), on_event
        self.unused = {s.name: Storage.NONE for s in specs if s.op in WHOLE}
        self.work: dict[str, Work] = {}
        self.shared: tuple[SharedStorage, ...] = ()
        self.live: tuple[LiveTensor, ...] = ()
        self._live_sizes: set[tuple[str, int]] = set()  # of the larger batch
        self.min_micro_batch = FEWEST_TO_ESTIMATE if uses_batch_statistics(batch_norms(model)) else 1
        step = functools.partial(self.step, chunk=1)
        is_cuda = x.device.type == "cuda"
        of_time = (step, self.batches, self._timed_step)
        self.times = DeviceTimes(*of_time, self._timing) if is_cuda else Times(*of_time)
        # Errors are relative: fewer samples show them too, unless BatchNorm makes two values of a channel +1 and -1.
        is_enough = self.batches[0] > 1 and self.min_micro_batch == 1
        self._error_samples = self.batches[0] if is_enough else self.batches[1]
        self.measured: dict[str, Measured] = {}
        self.weight_errors: dict[str, float] = {}

    def step(
        self, sites: Mapping[str, Storage], samples: int | None = None, is_metered: bool = False, chunk: int = 1
    ) -> Step:
        """One step with these storages, everything else exact."""
        n = len(self.x) if samples is None else samples
        policy = self.policy(sites, chunk)
        return run_step(self.model, self.x[:n], self.y[:n], policy, self.precision, is_metered)

    def _timed_step(self, sites: Mapping[str, Storage], n: int, chunk: int) -> TimedStep:
        return training_step(self.model, self.x[:n], self.y[:n], self.policy(sites, chunk), self.precision)

    def _timing(self, step: TimedStep) -> Timing:
        return timed(step, self.x.device, self._reference)

    @functools.cached_property
    def _reference(self) -> Reference:
        """The exact step of all samples, which the others are timed beside."""
        step = self._timed_step({}, len(self.x), 1)
        for _ in range(2):
            step()
        return Reference.of(step, self.x.device)

    def policy(self, sites: Mapping[str, Storage], chunk: int = 1) -> StoragePolicy:
        """Of these storages, everything else exact."""
        return StoragePolicy({**self.unused, **sites}, Storage.EXACT, chunk, self.frozen, tables=self.tables)

    def ways(self) -> None:
        """Every site's work under each way of running, what exact sites hold, and which tensors they share."""
        stage(self.on_event, "running a first step")
        self.step({}, self.batches[0])  # the first step allocates what later ones reuse
        for mode, sites in self.policies().items():
            stage(self.on_event, f"measuring memory: {WAY_WORDS[mode]}")
            steps = [self.step(sites, n, True) for n in self.batches]
            if mode == "exact":
                self._exact((steps[0], steps[1]))
                order = [spec.name for spec in self.specs]
                of_batches = [self._lives(n) for n in self.batches]
                self.live = live_tensors(self.batches, of_batches, order)
                self._live_sizes = {(site, size) for (sites, _), (_, size) in of_batches[1].items() for site in sites}
            if mode in WHOLE:
                self.specs = outside(self.specs, mode, steps[1].bytes)
            steps += self._alone(sites)
            segments_of = self._segments(self.batches, steps)
            if mode in WHOLE:
                segments_of = self._in_larger_chunks(sites, segments_of)
            for site, of_site in segments_of.items():
                self.work.setdefault(site, {})[mode] = of_site
            for name, storage in sites.items():
                of = self.measured[name]
                if storage is Storage.EXACT:  # a site without codes: what it holds is known, less what it shares
                    continue
                constant, _ = line(self.batches, [step.bytes.get(name, 0) for step in steps])
                of.fixed.setdefault(storage, max(constant, 0))
                of.of_way.setdefault(storage, steps[1].bytes.get(name, 0))
        stage(self.on_event, "measuring memory: exact sites among coded ones")
        self._among_codes()

    def _in_larger_chunks(
        self, sites: Mapping[str, Storage], segments_of: dict[str, tuple[Segment, ...]]
    ) -> dict[str, tuple[Segment, ...]]:
        """The segments with what larger chunks take."""
        order = dict.fromkeys(spec.name for spec in self.specs)
        runs = {chunk: self.step(sites, len(self.x), True, chunk) for chunk in self._larger_chunks()}
        tops = {c: (step.trace.turns(order), held_until(order, step.bytes)) for c, step in runs.items()}
        return chunked(segments_of, len(self.x), tops)

    def _larger_chunks(self) -> list[int]:
        """All samples as one chunk, and half as many before: the slope is seldom the same up to both."""
        n = len(self.x)
        return [n // 2, n] if n > 3 else [n]

    def _segments(self, batches: tuple[int, int], steps: Sequence[Step]) -> dict[str, tuple[Segment, ...]]:
        order = {spec.name: None for spec in self.specs}
        held = [held_until(order, step.bytes) for step in steps]
        traces = [step.trace for step in steps]
        return with_moments(batches, segments(batches, [trace.turns(order) for trace in traces], held), traces, held)

    def _among_codes(self) -> None:
        """Turns of exact sites whose neighbours are coded: what those would hold is alive all the same.

        Groups of sites are split by the bits of their number, so that any two are apart in some run; heavy models
        stop after AMONG_S seconds of work, not of waiting, at the earliest after the first split.
        """
        batches = self.batches  # not one sample, which other convolutions run
        codes = self.policies()["codes"]
        alike = [group for group in groups(self.specs) if group[0].op not in WHOLE]
        order = [spec.name for spec in self.specs]
        started = time.thread_time()
        for bit in range(max(len(alike) - 1, 1).bit_length()):
            if bit and time.thread_time() - started > AMONG_S:
                return
            for side in (0, 1):
                exact = {spec.name for i, group in enumerate(alike) if i >> bit & 1 == side for spec in group}
                sites = {name: storage for name, storage in codes.items() if name not in exact}
                steps = [self.step(sites, n, True) for n in batches]
                keeping = {site for site, _, size in steps[1].kept if (site, size) in self._live_sizes}
                segments_of = without_live(self._segments(batches, steps), self.live, order, keeping)
                for site, more in segments_of.items():
                    if site in exact and "exact" in self.work.get(site, {}):
                        self.work[site]["exact"] = upper_segments(self.work[site]["exact"] + more)

    def _lives(self, n: int) -> Lives:
        listed = {spec.name for spec in self.specs}
        return lives(self.model, self.x[:n], self.y[:n], self.precision, self.policy({}), listed)

    def _alone(self, sites: Mapping[str, Storage]) -> list[Step]:
        """The step of one sample; none where two were measured from one on, or BatchNorm refuses a single value."""
        if self.batches[0] == 1:
            return []
        try:
            return [self.step(sites, 1, True)]
        except ValueError:
            self.min_micro_batch = max(self.min_micro_batch, 2)
            return []

    def _exact(self, steps: tuple[Step, Step]) -> None:
        """Sites that hold without being listed join the list; a tensor of several sites is taken out of the first."""
        self.specs = tuple(map(_codable, with_unlisted(self.specs, steps[1].bytes)))
        self.measured = {spec.name: Measured() for spec in self.specs}
        self.shared = shared_storages(self.batches, steps, {spec.name for spec in self.specs})
        for spec in self.specs:
            of, first = self.measured[spec.name], spec.options[0]
            of.bytes[first] = of.error[first] = of.fixed[first] = 0.0
            of.extra[first] = Extra()
            if first is Storage.EXACT:
                constant, slope = line(self.batches, [step.bytes.get(spec.name, 0) for step in steps])
                for tensor in self.shared:
                    if tensor.sites[0] == spec.name:
                        constant, slope = constant - tensor.fixed_bytes, slope - tensor.bytes_per_sample
                constant, slope = max(constant, 0), max(slope, 0)
                of.bytes[first] = constant + slope * self.batches[1]
                of.fixed[first] = constant

    def policies(self) -> dict[str, dict[str, Storage]]:
        """A uniform choice for each way of running that this model has."""
        codes = {s.name: _coded(s) for s in self.specs if s.op not in WHOLE}
        policies: dict[str, dict[str, Storage]] = {"exact": {}, "codes": codes}
        for mode in WHOLE:
            whole = {s.name: Storage.B4 for s in self.specs if s.op == mode}
            if whole:
                policies[mode] = {**codes, **whole}
        return policies

    def evaluation(self) -> dict[str, WorkingSet]:
        """Peak of a forward pass without gradients under each way of running."""
        working_sets, twice = {}, repeated(self.x, 2 * len(self.x))
        for mode, sites in self.policies().items():
            if mode != "codes":
                policy = self.policy(sites)
                small, large = self.batches
                if mode == "exact":  # the first pass of a new batch size may hold what libraries prepare once
                    evaluation_peak(self.model, twice, self.precision, policy)
                peaks = [
                    evaluation_peak(self.model, twice[:n], self.precision, policy) for n in (small, large, 2 * large)
                ]
                far = line((large, 2 * large), peaks[1:])
                more = 0
                if mode in WHOLE:
                    policies = {chunk: self.policy(sites, chunk) for chunk in self._larger_chunks()}
                    wholes = {c: evaluation_peak(self.model, self.x, self.precision, p) for c, p in policies.items()}
                    more = chunk_slope({1: peaks[1], **wholes})
                one = peaks[0] if small == 1 else evaluation_peak(self.model, self.x[:1], self.precision, policy)
                working_sets[mode] = WorkingSet(*line(self.batches, peaks[:2]), large, *far, more, one)
        return working_sets

    @contextmanager
    def nominal(self) -> Iterator[None]:
        """Inside, every site has its bytes, nominal errors and no times."""
        measured = copy.deepcopy(self.measured)
        self._errors().nominal(self.policies())
        try:
            yield
        finally:
            self.measured = measured

    def sites(self, sensitivity_s: float, refine_s: float) -> None:
        """Bytes, error and time of the measured storages of every site. sensitivity_s 0: nominal errors."""
        gc.collect()
        operators = self._of_operators()
        self.times.measure(operators)
        errors = self._errors()
        if sensitivity_s <= 0:
            errors.nominal(self.policies())
            return
        errors.of_groups(sensitivity_s, self.on_event)
        stage(self.on_event, "telling sites of one shape apart")
        errors.of_sites(refine_s)
        errors.add_up(operators)
        self.weight_errors = weight_errors(self.model, errors.exact_gradient, min(sensitivity_s, MOST_S))

    def _of_operators(self) -> dict[str, dict[str, Storage]]:
        """Operator -> its sites, stored as in that way of running which stores them otherwise than exact."""
        policies = self.policies()
        operators: dict[str, dict[str, Storage]] = {}
        for spec in self.specs:
            storage = policies.get(spec.op, policies["codes"]).get(spec.name, Storage.EXACT)
            if storage is not spec.options[0]:
                operators.setdefault(spec.op, {})[spec.name] = storage
        return operators

    def _errors(self) -> StorageErrors:
        samples = self._error_samples
        return StorageErrors(self.model, self.step, self.times, self.specs, self.measured, self.batches, samples)

    def site_profile(self, spec: SiteSpec) -> SiteProfile:
        """A site with every storage it offers."""
        of = self.measured[spec.name]
        options = []
        for storage in spec.options:
            size = linear_bytes(of.bytes, storage)
            fixed = min(of.fixed_bytes(storage), size)
            extra = of.extra_of(spec, storage)
            if storage is not spec.options[0]:
                extra = extra.at_least(4 * prod(spec.shape[1:]) / BYTES_PER_MS)
            if spec.op in WHOLE and storage is not Storage.NONE:
                extra = self.times.of_whole(extra, spec, self.specs)
            options.append(
                Option(
                    storage=storage,
                    bytes_per_sample=round((size - fixed) / len(self.x)),
                    gradient_error=between(of.error, storage),
                    extra_ms_per_sample=extra.ms_per_sample,
                    fixed_bytes=round(fixed),
                    fixed_ms=extra.fixed_ms,
                    launches=extra.launches,
                )
            )
        work = self.work.get(spec.name, {})
        return SiteProfile(spec.name, spec.op, tuple(spec.shape[1:]), ordered(options), spec.region, spec.block, work)


def _codable(spec: SiteSpec) -> SiteSpec:
    """Without codes where one sample alone is too small for the hook to code, so that bytes grow with samples."""
    is_small = prod(spec.shape[1:]) < MIN_CODED_ELEMENTS
    if not is_small or spec.op in PACKED or spec.options[0] is not Storage.EXACT:
        return spec
    return replace(spec, options=tuple(s for s in spec.options if not s.bits))


def _coded(spec: SiteSpec) -> Storage:
    return next((s for s in (Storage.NONE, Storage.MASK, Storage.B4) if s in spec.options), Storage.EXACT)
