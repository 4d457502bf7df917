"""`plan`: the best micro-batch, chunk and storage per site under a budget; storages are chosen exactly."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, hypot

from s2a_core.errors import InfeasibleBudget, InternalError, InvalidInput
from s2a_core.planning.chunks import chunk_sizes, micro_batches
from s2a_core.planning.memory import held_by_storage
from s2a_core.planning.objective import NEGLIGIBLE_ERROR, Objective, error_weight, monotone
from s2a_core.planning.overhead import OF_DEVICE, Overhead, device_overhead
from s2a_core.planning.peak import Peak
from s2a_core.planning.scoring import (
    Cut,
    chunk_gains,
    exact_ms,
    extra_ms,
    gradient_error,
    relative_step_time,
    weight_error,
)  # fmt: skip
from s2a_core.planning.solve import GAP, TIME_LIMIT_S, Cost, Program, Solution
from s2a_core.planning.types import Baseline, FrontierPoint, Plan
from s2a_core.profiling.types import Option, Profile, SiteProfile
from s2a_core.storage import FrozenWeights, Storage

# A smaller micro-batch costs step time: kernels run emptier. Charged per halving, on top of what a step takes for any
# number of samples, so that plans prefer larger ones.
HALVING_COST = 0.03
ALIKE_ERRORS = 1.1  # plans whose errors differ by less train alike: then the faster one
FRONTIER_FACTORS = (0.5, 0.75, 1.5, 2.0)
# The frontier shows what other budgets would buy: a few thousandths from the optimum is near enough.
FRONTIER_GAP = 3e-3
FRONTIER_TIME_S = 0.2


@dataclass(frozen=True)
class _Candidate:
    peak: Peak
    solution: Solution
    peak_bytes: int
    error: float
    time: float

    @property
    def needed_bytes(self) -> int:
        return self.peak.needed(self.solution.peak_bytes)

    @property
    def sites(self) -> Mapping[str, Storage]:
        return self.solution.sites


def plan(
    profile: Profile,
    budget_bytes: int,
    batch_size: int = 64,
    objective: Objective = "accuracy",
    overhead: Overhead | None = None,
    has_frontier: bool = True,
    widenable: Collection[str] = (),
) -> Plan:
    """The plan for a batch of `batch_size` samples inside `budget_bytes`.

    overhead: what the run and its device take beyond a step, with what is kept free; None for the profile's device in
    a loop of your own. has_frontier: other budgets are
    planned too, for comparison. widenable: coded weights of the profile that may stay numbers, by name.
    Raises InfeasibleBudget with the smallest budget that fits, InvalidInput for a batch below one.
    """
    if batch_size < 1:
        raise InvalidInput(f"the batch size must be at least 1, not {batch_size}", details={"batch_size": batch_size})
    if objective not in ("accuracy", "speed", "balanced"):
        raise InvalidInput(f"the objective is accuracy, speed or balanced, not {objective!r}")
    overhead = overhead or device_overhead(profile)
    search = _Search(profile, batch_size, objective, overhead, widenable)
    smallest = search.smallest()
    best = search.best(budget_bytes) if overhead.is_accepted(budget_bytes, smallest) else None
    if best is None:
        parts = search.least.peak.breakdown(search.least.sites)
        name, size = max(parts.items(), key=lambda item: item[1])
        raise InfeasibleBudget(
            budget_bytes=budget_bytes,
            min_feasible_budget_bytes=smallest,
            binding=name,
            binding_bytes=size,
            is_estimate=not profile.sites,  # of weights and optimizer alone
        )
    frontier = [_point(budget_bytes, best)]
    around = min(budget_bytes, best.needed_bytes)  # what a plan leaves over would buy nothing
    others = {smallest, *(int(around * factor) for factor in FRONTIER_FACTORS)} if has_frontier else ()
    for other_budget in others:
        other = search.best(other_budget, FRONTIER_GAP, FRONTIER_TIME_S) if other_budget >= smallest else None
        if other is not None:
            frontier.append(_point(other_budget, other))
    return replace(
        _plan_of(profile, best, budget_bytes, batch_size, objective, smallest),
        frontier=tuple(monotone(sorted(frontier, key=lambda p: p.budget_bytes), objective)),
        baselines=tuple(Baseline(b.name, b.at(batch_size)) for b in profile.baselines),
    )


def smallest_budget(profile: Profile, batch_size: int = 64, overhead: Overhead | None = None) -> int:
    """The smallest budget that is planned for."""
    return _Search(profile, batch_size, "accuracy", overhead or device_overhead(profile)).smallest()


def smallest_peak(profile: Profile, batch_size: int = 64, overhead: Overhead | None = None) -> int:
    """What the plan of the smallest peak needs of a budget in bytes."""
    return _Search(profile, batch_size, "accuracy", overhead or device_overhead(profile)).least.needed_bytes


class _Search:
    """The outer search over micro-batches and chunks; the programs of each are built once and serve every budget."""

    def __init__(
        self, profile: Profile, batch_size: int, objective: Objective, overhead: Overhead,
        widenable: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.profile, self.batch_size, self.objective, self.overhead = profile, batch_size, objective, overhead
        self.widenable = set(widenable)
        self.frozen: FrozenWeights = "bf16" if profile.precision == "bf16" else "keep"
        if batch_size == 1 < profile.min_micro_batch:
            raise InvalidInput(
                f"{profile.model} estimates statistics over the batch, which one image does not give: the smallest "
                "batch is 2, with --adapter bias or head it is 1 (pretrained statistics stay as they are)",
                details={"batch_size": batch_size, "smallest_batch_size": 2},
            )
        self.micro_batches = micro_batches(profile, batch_size)
        self.chunks = {n: chunk_sizes(profile, n) for n in self.micro_batches}
        self._programs: dict[tuple[int, int], Program] = {}

    @cached_property
    def least(self) -> _Candidate:
        """The plan of the smallest peak, over all micro-batches: of those whose lower bound is not above the best."""
        bounds = []
        for n in self.micro_batches:
            bound = self._program(n).solve(None, None, is_relaxed=True)
            if bound is not None:
                bounds.append((self._program(n).peak.total(bound.peak_bytes), n))
        best: _Candidate | None = None
        for bound_bytes, n in sorted(bounds):
            if best is not None and bound_bytes >= best.peak_bytes:
                break
            solution = self._program(n).solve(None, None)
            if solution is not None:
                made = self._candidate(solution, n, self.chunks[n][0])
                best = made if best is None or made.peak_bytes < best.peak_bytes else best
        if best is None:
            raise InternalError(f"no choice of storages was found for {self.profile.model} at any micro-batch")
        return best

    def smallest(self) -> int:
        """The smallest budget that is planned for: of the plan of the smallest peak, or of profiling on a device."""
        peak, overhead = self.least.peak, self.least.peak.overhead
        smallest = overhead.smallest_budget(peak.always, self.least.solution.peak_bytes)
        profiling = self.profile.profiling_bytes
        if not profiling:
            return smallest
        outside = sum(overhead.parts.get(name, 0) for name in OF_DEVICE)
        return max(smallest, overhead.smallest_budget(outside + profiling, 0))

    def best(self, budget_bytes: int, gap: float = GAP, seconds: float = TIME_LIMIT_S) -> _Candidate | None:
        """The best plan within a budget, None where nothing fits.

        accuracy: the smallest error, or the fastest plan whose error is negligible where there is one. On CUDA the
        smallest error takes the smallest chunks and thousands of launches, and where weights are coded it takes exact
        activations beside them: the fastest plan near it.
        gap, seconds: of each solve.
        """
        limits = (gap, seconds)
        if self.objective == "accuracy":
            choice = self._cheapest(budget_bytes, 1.0, NEGLIGIBLE_ERROR, limits)
            choice = choice or self._cheapest(budget_bytes, None, None, limits)
            if choice is not None and (self.profile.launches or self.widenable) and choice.error > NEGLIGIBLE_ERROR:
                choice = self._cheapest(budget_bytes, 1.0, choice.error * ALIKE_ERRORS, limits) or choice
        else:
            choice = self._cheapest(budget_bytes, error_weight(self.objective), None, limits)
        if choice is None:  # the others ran out of time
            peak = self.least.peak
            least = self._candidate(self.least.solution, peak.samples, peak.chunk, budget_bytes)
            return least if least.needed_bytes <= budget_bytes else None
        return choice

    def _cheapest(
        self, budget_bytes: int, time_weight: float | None, max_error: float | None, limits: tuple[float, float]
    ) -> _Candidate | None:
        """The plan of least cost over all micro-batches and chunks: best lower bound first, until no bound is lower.

        time_weight: of the squared error beside the time; None leaves time out, and then larger chunks have no use.
        """
        slowest = self._slowdown if time_weight is not None else lambda n: 0.0
        square_cost = 1.0 if time_weight is None else time_weight
        # (lower bound, -micro-batch, chunk, whether the bound is the relaxed program's)
        queue = [(slowest(n), -n, self.chunks[n][0], False) for n in self.micro_batches]
        heapq.heapify(queue)
        best: tuple[float, _Candidate] | None = None
        while queue:
            lower, minus, chunk, is_bounded = heapq.heappop(queue)
            if best is not None and lower >= best[0] * (1 - GAP):
                break
            n = -minus
            cut = Cut(n, chunk)
            cost = self._error_cost(cut) if time_weight is None else self._time_cost(time_weight, cut)
            program = self._program(n, chunk)
            capacity = program.peak.room(budget_bytes)
            if not is_bounded:
                bound = program.solve(capacity, cost, is_relaxed=True, max_error=max_error, square_cost=square_cost)
                if bound is None:
                    continue
                heapq.heappush(queue, (max(lower, bound.cost + slowest(n)), -n, chunk, True))
                if chunk == self.chunks[n][0] and time_weight is not None:
                    for size in self.chunks[n][1:]:
                        gain = self._most_gain(cut, Cut(n, size))
                        if gain > 0:
                            least = max(bound.cost - gain, 0.0) + slowest(n)
                            heapq.heappush(queue, (least, -n, size, False))
                continue
            solution = program.solve(
                capacity, cost, max_error=max_error, gap=limits[0], seconds=limits[1], square_cost=square_cost
            )
            if solution is None:
                continue
            made, total = self._candidate(solution, n, chunk, budget_bytes), solution.cost + slowest(n)
            if best is None or total < best[0]:
                best = total, made
        return best[1] if best else None

    def _candidate(self, solution: Solution, n: int, chunk: int, budget_bytes: int = 0) -> _Candidate:
        """budget_bytes: of the process that it is for."""
        peak, sites = self._program(n, chunk).peak.within(budget_bytes), solution.sites
        time = relative_step_time(self.profile, sites, Cut(n, chunk), self.batch_size)
        coded = self.widenable.difference(solution.wide_weights)
        error = hypot(gradient_error(self.profile, sites), weight_error(self.profile, coded))
        peak = replace(peak, wide_weights=solution.wide_weights)
        return _Candidate(peak, solution, peak.total(solution.peak_bytes), error, time)

    def _slowdown(self, n: int) -> float:
        """What a micro-batch smaller than the batch costs, as a share of the step's time."""
        halvings = ceil(self.batch_size / n).bit_length() - 1
        return HALVING_COST * halvings + exact_ms(self.profile, n) / self._step_ms - 1.0

    @cached_property
    def _step_ms(self) -> float:
        """Milliseconds per sample of the exact step of the whole batch: all times are shares of it."""
        return exact_ms(self.profile, self.batch_size)

    def _time_cost(self, error_weight: float, cut: Cut) -> Cost:
        """Extra time as a share of the exact step, plus weighted squared errors: of plans equally fast the truest."""
        step, gains, n = self._step_ms, chunk_gains(self.profile, cut), cut.micro_batch

        def cost(site: SiteProfile, option: Option) -> float:
            return extra_ms(site, option, gains, n) / step + error_weight * option.gradient_error**2

        return cost

    def _error_cost(self, cut: Cut) -> Cost:
        """Squared error, and a little for time."""
        step, gains, n = self._step_ms, chunk_gains(self.profile, cut), cut.micro_batch

        def cost(site: SiteProfile, option: Option) -> float:
            return option.gradient_error**2 + 1e-7 * extra_ms(site, option, gains, n) / step

        return cost

    def _most_gain(self, small: Cut, large: Cut) -> float:
        """The most that larger chunks can save, as a share of the step's time."""
        more = (small.num_chunks - large.num_chunks) / small.micro_batch
        return more * max(self.profile.chunk_ms.values(), default=0.0) / self._step_ms

    def _program(self, n: int, chunk: int = 0) -> Program:
        """chunk: 0 is the smallest."""
        chunk = chunk or self.chunks[n][0]
        if (n, chunk) not in self._programs:
            peak = Peak(self.profile, n, n < self.batch_size, chunk, self.frozen, self.overhead)
            self._programs[n, chunk] = Program(peak, self.widenable)
        return self._programs[n, chunk]


def _point(budget_bytes: int, c: _Candidate) -> FrontierPoint:
    return FrontierPoint(budget_bytes, c.peak_bytes, c.error, c.time, c.peak.samples)


def _plan_of(
    profile: Profile, c: _Candidate, budget_bytes: int, batch_size: int, objective: str, smallest: int
) -> Plan:
    return Plan.of(
        profile,
        c.peak,
        c.sites,
        batch_size,
        solver=c.solution.report,
        budget_bytes=budget_bytes,
        min_feasible_budget_bytes=smallest,
        optimizer=c.peak.overhead.optimizer,
        objective=objective,
        held_by_storage=held_by_storage(profile, c.sites, c.peak.samples),
    )
