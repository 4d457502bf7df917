"""Memory over a step: every named part, every moment, and the largest. Nothing else computes a peak.

    site k, forward or backward:  always + gradients* + sum_{j <= k} held_j + work_k (+ live_k)
    before the first site:        always + gradients* + start
    optimizer's step:             always + gradients + temporaries
    evaluation:                   always + a forward pass without gradients
    new best state:               always + the copy that replaces the last one
    always = weights + buffers + optimizer + input + what the run keeps over its steps + what the device takes
and in every moment what coded weights that stay numbers take beyond their codes: a choice, as sites' storages are

live_k: of an exact site's forward turn, what the model itself still has and no exact site holds (see LiveTensor)
*) in full from a step's second micro-batch on; in a step of one micro-batch the gradients so far are part of the work.

The program (`solve.py`) has these moments as its rows, so what it allows, what a plan promises, what verification
expects and what is drawn are the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from s2a_core.planning.memory import Sites, chosen_options, held_by_site, is_used, run_mode
from s2a_core.planning.overhead import BEST_STATE, Overhead
from s2a_core.planning.sums import column_sum_workspace
from s2a_core.profiling.live import live_in_turns
from s2a_core.profiling.types import OptimizerCost, Profile, Segment, SiteProfile
from s2a_core.storage import WHOLE, FrozenWeights, Storage

GRADIENT_BYTES = 4  # fp32
FORWARD, BACKWARD, OPTIMIZER, EVALUATION, BEST = "forward", "backward", "optimizer", "evaluation", "best state"
# What a step itself takes. Every other part of a breakdown belongs to the run or the device and never changes.
STEP_PARTS = ("weights", "buffers", "gradients", "optimizer", "input", "held", "working")


@dataclass(frozen=True)
class Point:
    """A moment of a step. num_bytes: all bytes of the device; site: "" for moments of the whole model.

    held: bytes kept for backward so far; gradients: complete ones of earlier micro-batches; wide: of weights that the
    plan left uncoded.
    """

    phase: str
    site: str
    held: int
    work: int
    gradients: int
    num_bytes: int
    wide: int = 0

    @property
    def moving(self) -> int:
        """Bytes that only a step has, or that were chosen with them."""
        return self.held + self.work + self.gradients + self.wide


@dataclass(frozen=True)
class Peak:
    """The memory of a step of `samples` images a micro-batch. chunk: samples per chunk of regions and blocks.

    accumulates: a step has more than one micro-batch; wide_weights: coded ones of the profile that stay numbers.
    """

    profile: Profile
    samples: int
    accumulates: bool = True
    chunk: int = 1
    frozen_weights: FrozenWeights = "keep"
    overhead: Overhead = field(default_factory=Overhead)
    wide_weights: tuple[str, ...] = ()

    @cached_property
    def parts(self) -> dict[str, int]:
        """What is alive all the time."""
        profile = self.profile
        narrowed = profile.frozen_bytes // 2 if self.frozen_weights == "bf16" else 0
        return {
            "weights": profile.params_bytes - narrowed,
            "buffers": profile.buffers_bytes,
            "optimizer": self.optimizer.state_bytes,
            "input": self.samples * profile.input_bytes_per_sample,
            **self.overhead.parts,
        }

    @cached_property
    def always(self) -> int:
        """Bytes of everything that is alive all the time."""
        return sum(self.parts.values())

    @cached_property
    def wide_bytes(self) -> int:
        """What weights that stay numbers take beyond their codes."""
        return sum(weight.wide_bytes for weight in self.profile.weights if weight.name in self.wide_weights)

    @property
    def optimizer(self) -> OptimizerCost:
        """What the run's optimizer takes."""
        return self.profile.optimizer_cost(self.overhead.optimizer)

    @property
    def gradients(self) -> int:
        """Bytes of the whole gradient."""
        return GRADIENT_BYTES * self.profile.trainable_params

    @property
    def earlier_gradients(self) -> int:
        """Those that earlier micro-batches of a step left."""
        return self.gradients if self.accumulates else 0

    @property
    def least_moving(self) -> int:
        """Bytes that move in every step, whatever its storages: of the optimizer's step, and of a new best state."""
        return max(self.gradients + self.optimizer.step_bytes, self.overhead.parts.get(BEST_STATE, 0))

    def within(self, budget_bytes: int) -> Peak:
        """In a process that was started with this budget."""
        overhead = self.overhead.within(budget_bytes)
        return self if overhead is self.overhead else replace(self, overhead=overhead)

    def room(self, budget_bytes: int) -> int:
        """The most bytes that may move within a budget."""
        peak = self.within(budget_bytes)
        return peak.overhead.room(peak.always, budget_bytes)

    def total(self, moving: int) -> int:
        """Bytes of the device while so many move."""
        return self.overhead.total(self.always, moving)

    def needed(self, moving: int) -> int:
        """Bytes that a budget has to have while so many move."""
        return self.overhead.needed(self.always, moving)

    def work(self, site: SiteProfile, mode: str | None, is_backward: bool, neighbour: str | None = None) -> int | None:
        """Bytes of a site's turn in one pass beyond what is held; None where it has no turn in that pass.

        An exact site's turn reaches into what no site is listed for: backward into what comes before it, forward into
        what follows. neighbour: the region or block that runs there as a whole, which changes that.
        """
        if mode is None:
            return None
        own = site.work.get(mode) or next(iter(site.work.values()), ())
        if mode == "exact" and self.reaches(site, is_backward, neighbour):
            own = site.work[str(neighbour)]
        turns = self._of_pass(own, is_backward)
        if not turns:
            return None
        is_fresh, is_whole = not self.accumulates, mode in WHOLE
        return max(0, *(turn.at(self.samples, is_fresh, self.chunk) + self._summing(turn, is_whole) for turn in turns))

    def _summing(self, turn: Segment, is_whole: bool) -> int:
        """Workspace of a turn's sum of rows at these samples, where so few as were measured take none.

        is_whole: it is of a region or block, which sums the rows of a chunk.
        """
        profile = self.profile
        measured = 1 if is_whole else profile.chunk_samples
        samples = min(self.chunk, self.samples) if is_whole else self.samples
        rows, columns, threads = turn.sum_rows, turn.sum_columns, profile.resident_threads
        if not rows or column_sum_workspace(rows * profile.chunk_samples // measured, columns, threads):
            return 0
        return column_sum_workspace(rows * samples // measured, columns, threads)

    @cached_property
    def live(self) -> dict[str, dict[tuple[str, ...], int]]:
        """Site -> sites of which any exact one holds a tensor that lives in its forward turn -> that tensor's bytes."""
        profile = self.profile
        live = live_in_turns([site.name for site in profile.sites], profile.live)
        return {
            name: {holders: fixed + self.samples * slope for holders, (fixed, slope) in tensors.items()}
            for name, tensors in live.items()
        }

    def reaches(self, site: SiteProfile, is_backward: bool, neighbour: str | None) -> bool:
        """Whether an exact site's turn is another one beside `neighbour`, with all that is alive in it."""
        return neighbour is not None and bool(self._of_pass(site.work.get(neighbour, ()), is_backward))

    @staticmethod
    def _of_pass(segments: Sequence[Segment], is_backward: bool) -> list[Segment]:
        return [segment for segment in segments if segment.is_backward == is_backward]

    def start(self, mode: str | None) -> int:
        """Bytes before the first site's turn, by how the first site in use runs."""
        profile = self.profile
        segments = profile.start.get(mode or "") or [s for some in profile.start.values() for s in some]
        return max((segment.at(self.samples, not self.accumulates) for segment in segments), default=0)

    def evaluation(self, mode: str) -> int:
        """Bytes of a forward pass without gradients, every region or block used or (`exact`) none."""
        return self.profile.evaluation[mode].at(self.samples, self.chunk)

    def neighbours(self, position: int, step: int) -> list[str]:
        """Regions and blocks that may run beside a site. step: -1 for before it, 1 for behind."""
        sites = self.profile.sites
        if not 0 <= position + step < len(sites):
            return []
        beside = sites[position + step]
        names = [beside.block, beside.region, beside.name if beside.op in WHOLE else None]
        return [name for name in names if name is not None and name in self.operators]

    @cached_property
    def operators(self) -> dict[str, str]:
        """Every region's and block's name -> which of both it is."""
        return {site.name: site.op for site in self.profile.sites if site.op in WHOLE}

    def leading(self) -> list[SiteProfile]:
        """The sites of which the first one in use decides how a step starts: regions and blocks, then one more."""
        chain: list[SiteProfile] = []
        for site in self.profile.sites:
            chain.append(site)
            if site.op not in WHOLE:
                break
        return chain

    def course(self, sites: Sites) -> tuple[Point, ...]:
        """Every moment of the step's last micro-batch: forward, in reverse order backward, then the whole model's."""
        profile, earlier = self.profile, self.earlier_gradients
        chosen = {site.name: option.storage for site, option in chosen_options(profile, sites)}
        modes = {site.name: run_mode(site, chosen[site.name]) for site in profile.sites if site.name in chosen}
        held = held_by_site(profile, sites, self.samples)
        first = next((modes[s.name] for s in self.leading() if modes.get(s.name)), None)
        forward = [self._point(FORWARD, "", 0, self.start(first), earlier)]
        backward: list[Point] = []
        exact = {name for name, storage in chosen.items() if storage is Storage.EXACT}
        total = 0
        for position, site in enumerate(profile.sites):
            if site.name not in chosen:
                continue
            total += held[site.name]
            for points, is_backward in ((forward, False), (backward, True)):
                beside = self._whole_beside(position, -1 if is_backward else 1, modes)
                work = self.work(site, modes[site.name], is_backward, beside)
                if not is_backward and site.name in exact and not self.reaches(site, is_backward, beside):
                    live = self.live.get(site.name, {}).items()
                    work = (work or 0) + sum(size for holders, size in live if exact.isdisjoint(holders))
                if work is not None or not is_backward:
                    phase = BACKWARD if is_backward else FORWARD
                    points.append(self._point(phase, site.name, total, work or 0, earlier))
        training = max(point.moving for point in (*forward, *backward))
        mode = self.evaluation_mode(chosen)
        # Without gradients less is alive than in the same pass with them, whatever part of it is exact.
        size = training - self.wide_bytes if mode is None else self.evaluation(mode)
        return (
            *forward,
            *reversed(backward),
            self._point(OPTIMIZER, "", 0, self.optimizer.step_bytes, self.gradients),
            self._point(EVALUATION, "", 0, size, 0),
            self._point(BEST, "", 0, self.overhead.parts.get(BEST_STATE, 0), 0),
        )

    def _point(self, phase: str, site: str, held: int, work: int, gradients: int) -> Point:
        moving = held + work + gradients + self.wide_bytes
        return Point(phase, site, held, work, gradients, self.total(moving), self.wide_bytes)

    def _whole_beside(self, position: int, step: int, modes: Mapping[str, str | None]) -> str | None:
        """`region` or `block` where one runs as a whole next to a site."""
        return next((self.operators[n] for n in self.neighbours(position, step) if modes.get(n)), None)

    def evaluation_mode(self, sites: Sites) -> str | None:
        """How an evaluation was measured that is like this choice's: all blocks, all regions, or everything exact.

        None where some regions or blocks are used, which was not measured.
        """
        used = {name for name in self.operators if is_used(sites.get(name))}
        for mode in reversed(WHOLE):
            alike = {name for name, op in self.operators.items() if op == mode}
            if alike and alike <= used and mode in self.profile.evaluation:
                return mode
        return None if used else "exact"

    def moving(self, sites: Sites) -> int:
        """The most bytes that move at any moment."""
        return max(point.moving for point in self.course(sites))

    def breakdown(self, sites: Sites) -> dict[str, int]:
        """The named parts of the peak in bytes: their sum is the most bytes of any moment of `course`."""
        worst = max(self.course(sites), key=lambda point: point.moving)
        held = sum(held_by_site(self.profile, sites, self.samples).values())
        has_gradients = worst.gradients or worst.phase in (BACKWARD, EVALUATION)
        of_step = worst.moving - worst.wide
        gradients = min(self.gradients if has_gradients else 0, of_step - held)
        parts = {**self.parts, "held": held, "gradients": gradients, "working": of_step - held - gradients}
        parts["weights"] += worst.wide
        ordered = {name: parts.pop(name) for name in STEP_PARTS}
        return {**ordered, **parts, **self.overhead.slack(self.always, worst.moving)}
