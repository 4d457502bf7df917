"""`plan`: the best micro-batch, chunk and storage per site under a budget; storages are chosen exactly."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Literal

from s2a_core.errors import InfeasibleBudget, InvalidInput
from s2a_core.planning.memory import GRADIENT_BYTES, MARGIN, breakdown, fixed_parts, held_by_storage
from s2a_core.planning.scoring import chunk_gains, exact_ms, extra_ms, gradient_error, mean_bits, relative_step_time
from s2a_core.planning.solve import GAP, TIME_LIMIT_S, Allowed, Cost, Program, Solution
from s2a_core.planning.types import Baseline, FrontierPoint, Plan, Predicted
from s2a_core.profiling.types import Option, Profile, SiteProfile
from s2a_core.storage import WHOLE, FrozenWeights, Storage

Objective = Literal["accuracy", "speed", "balanced"]
# Below this relative error the gradient's own sampling noise hides the difference (two exact batches differ by 1.65).
NEGLIGIBLE_ERROR = 0.01
# A smaller micro-batch costs step time: kernels run emptier. Charged per halving, on top of what a step takes for any
# number of samples, so that plans prefer larger ones.
HALVING_COST = 0.03
# `balanced`: a relative gradient error of 0.1 weighs as much as 1 % of the step's time.
ERROR_WEIGHT = 1.0
SPEED_ERROR_WEIGHT = 1e-3
# The smallest budget is told with this on top: what verification may find missing when a plan is that tight. Below 2 %,
# so that a budget of 2 % less is refused.
SMALLEST_SLACK = 0.015
FRONTIER_FACTORS = (0.5, 0.75, 1.5, 2.0)
# The frontier shows what other budgets would buy: a few thousandths from the optimum is near enough.
FRONTIER_GAP = 3e-3
FRONTIER_TIME_S = 0.2


@dataclass(frozen=True)
class _Candidate:
    micro_batch: int
    chunk_samples: int
    frozen_weights: FrozenWeights
    solution: Solution
    parts: Mapping[str, int]
    error: float
    time: float

    @property
    def peak_bytes(self) -> int:
        return sum(self.parts.values())


def plan(
    profile: Profile,
    budget_bytes: int,
    batch_size: int = 64,
    objective: Objective = "accuracy",
    margin_bytes: int = 0,
    has_frontier: bool = True,
) -> Plan:
    """The plan for a batch of `batch_size` samples inside `budget_bytes`.

    margin_bytes: kept free on top of the predicted peak (what a verification run found missing). has_frontier: other
    budgets are planned too, for comparison.
    Raises InfeasibleBudget with the smallest budget that fits, InvalidInput for a batch below one.
    """
    if batch_size < 1:
        raise InvalidInput(f"the batch size must be at least 1, not {batch_size}", details={"batch_size": batch_size})
    if objective not in ("accuracy", "speed", "balanced"):
        raise InvalidInput(f"the objective is accuracy, speed or balanced, not {objective!r}")
    search = _Search(profile, batch_size, objective)
    smallest, binding = search.smallest()
    smallest += margin_bytes
    best = search.best(budget_bytes - margin_bytes)
    if best is None:
        name, size = binding
        raise InfeasibleBudget(
            budget_bytes=budget_bytes, min_feasible_budget_bytes=smallest, binding=name, binding_bytes=size
        )
    frontier = [_point(budget_bytes, best)]
    around = min(budget_bytes, best.peak_bytes + margin_bytes)  # what a plan leaves over would buy nothing
    others = {smallest, *(int(around * factor) for factor in FRONTIER_FACTORS)} if has_frontier else ()
    for other_budget in others:
        other = search.best(other_budget - margin_bytes, FRONTIER_GAP, FRONTIER_TIME_S)
        if other is not None:
            frontier.append(_point(other_budget, other))
    return replace(
        _plan_of(profile, best, budget_bytes, batch_size, objective, smallest, margin_bytes),
        frontier=tuple(_monotone(sorted(frontier, key=lambda p: p.budget_bytes))),
        baselines=tuple(Baseline(b.name, b.at(batch_size)) for b in profile.baselines),
    )


def smallest_budget(profile: Profile, batch_size: int = 64) -> tuple[int, tuple[str, int]]:
    """The smallest budget any plan fits, and the largest part of its peak."""
    return _Search(profile, batch_size, "accuracy").smallest()


def smallest_peak(profile: Profile, batch_size: int = 64) -> int:
    """The smallest predicted peak of any plan in bytes; a budget of exactly this can be planned."""
    return _Search(profile, batch_size, "accuracy").least.peak_bytes


class _Search:
    """The outer search over micro-batches and chunks; the programs of each are built once and serve every budget."""

    def __init__(self, profile: Profile, batch_size: int, objective: Objective) -> None:
        self.profile, self.batch_size, self.objective = profile, batch_size, objective
        self.frozen: FrozenWeights = "bf16" if profile.precision == "bf16" else "keep"
        if batch_size == 1 < profile.min_micro_batch:
            raise InvalidInput(
                f"{profile.model} estimates statistics over the batch, which one image does not give: the smallest "
                "batch is 2, with --adapter bias or head it is 1 (pretrained statistics stay as they are)",
                details={"batch_size": batch_size, "smallest_batch_size": 2},
            )
        least = min(profile.min_micro_batch, batch_size)
        self.micro_batches = [n for n in range(batch_size, least - 1, -1) if batch_size % n == 0]
        self._programs: dict[tuple[int, str, int], Program] = {}

    @cached_property
    def least(self) -> _Candidate:
        """The plan of the smallest peak: one sample at a time, or the whole batch, whose gradients come last."""
        found: list[_Candidate] = []
        for n in {self.micro_batches[0], self.micro_batches[-1]}:
            for way in ("exact", *WHOLE):
                program = self._program(n, way) if way in self.profile.evaluation else None
                solution = program.solve(None, None) if program else None
                if solution is not None:
                    found.append(self._candidate(solution, n, 1))
        return min(found, key=lambda c: c.peak_bytes)

    def smallest(self) -> tuple[int, tuple[str, int]]:
        """The smallest budget that is told, and the largest part of its plan's peak."""
        parts = self.least.parts
        return ceil(self.least.peak_bytes * (1 + SMALLEST_SLACK)), max(parts.items(), key=lambda item: item[1])

    def best(self, budget_bytes: int, gap: float = GAP, seconds: float = TIME_LIMIT_S) -> _Candidate | None:
        """The best plan within a budget, None where nothing fits.

        accuracy: the smallest error, or the fastest plan whose error is negligible where there is one.
        gap, seconds: of each solve.
        """
        limits = (gap, seconds)
        if self.objective == "accuracy":
            found = self._cheapest(budget_bytes, 1.0, NEGLIGIBLE_ERROR, limits)
            found = found or self._cheapest(budget_bytes, None, None, limits)
        else:
            weight = ERROR_WEIGHT if self.objective == "balanced" else SPEED_ERROR_WEIGHT
            found = self._cheapest(budget_bytes, weight, None, limits)
        if found is None and self.least.peak_bytes <= budget_bytes:
            return self.least  # what is chosen for its cost may fail in evaluation, which the program does not see
        return found

    def _cheapest(
        self, budget_bytes: int, time_weight: float | None, max_error: float | None, limits: tuple[float, float]
    ) -> _Candidate | None:
        """The plan of least cost over all micro-batches and chunks: best lower bound first, until no bound is lower.

        time_weight: of the squared error beside the time; None leaves time out, and then larger chunks have no use.
        """
        slowest = self._slowdown if time_weight is not None else lambda n: 0.0
        # (lower bound, -micro-batch, chunk, way, whether the bound is the relaxed program's)
        queue: list[tuple[float, int, int, str, bool]] = []
        for n in self.micro_batches:
            queue += [(slowest(n), -n, 1, way, False) for way in self._ways(n, budget_bytes)]
        heapq.heapify(queue)
        best: tuple[float, _Candidate] | None = None
        while queue:
            lower, minus, chunk, way, is_bounded = heapq.heappop(queue)
            if best is not None and lower >= best[0] * (1 - GAP):
                break
            n = -minus
            cost = self._error_cost if time_weight is None else self._time_cost(time_weight, chunk)
            program, capacity = self._program(n, way, chunk), self._capacity(n, budget_bytes)
            if not is_bounded:
                bound = program.solve(capacity, cost, is_relaxed=True, max_error=max_error)
                if bound is None:
                    continue
                heapq.heappush(queue, (max(lower, bound.cost + slowest(n)), -n, chunk, way, True))
                size = self.profile.chunk_samples
                if chunk == 1 < size <= n and time_weight is not None and self._most_gain > 0:
                    least = max(bound.cost - self._most_gain, 0.0) + slowest(n)
                    heapq.heappush(queue, (least, -n, size, way, False))
                continue
            solution = program.solve(capacity, cost, max_error=max_error, gap=limits[0], seconds=limits[1])
            if solution is None:
                continue
            made, total = self._candidate(solution, n, chunk), solution.cost + slowest(n)
            if made.peak_bytes <= budget_bytes and (best is None or total < best[0]):
                best = total, made
        return best[1] if best else None

    def _candidate(self, solution: Solution, n: int, chunk: int) -> _Candidate:
        parts = breakdown(self.profile, solution.sites, n, self.frozen, accumulates=n < self.batch_size, chunk=chunk)
        error = gradient_error(self.profile, solution.sites)
        time = relative_step_time(self.profile, solution.sites, chunk, n, self.batch_size)
        return _Candidate(n, chunk, self.frozen, solution, parts, error, time)

    def _slowdown(self, n: int) -> float:
        """What a micro-batch smaller than the batch costs, as a share of the step's time."""
        halvings = (self.batch_size // n).bit_length() - 1
        return HALVING_COST * halvings + exact_ms(self.profile, n) / self._step_ms - 1.0

    @cached_property
    def _step_ms(self) -> float:
        """Milliseconds per sample of the exact step of the whole batch: all times are shares of it."""
        return exact_ms(self.profile, self.batch_size)

    def _time_cost(self, error_weight: float, chunk: int) -> Cost:
        """Extra time as a share of the exact step, plus weighted squared errors: of plans equally fast the truest."""
        step, gains = self._step_ms, chunk_gains(self.profile, chunk)

        def cost(site: SiteProfile, option: Option) -> float:
            return extra_ms(site, option, gains) / step + error_weight * option.gradient_error**2

        return cost

    @cached_property
    def _error_cost(self) -> Cost:
        """Squared error, and a little for time."""
        step, gains = self._step_ms, chunk_gains(self.profile, 1)

        def cost(site: SiteProfile, option: Option) -> float:
            return option.gradient_error**2 + 1e-7 * extra_ms(site, option, gains) / step

        return cost

    @property
    def _most_gain(self) -> float:
        """The most that larger chunks can save, as a share of the step's time."""
        gain = max(self.profile.chunk_gain_ms.values(), default=0.0)
        return gain / self._step_ms

    def _ways(self, n: int, budget_bytes: int) -> list[str]:
        """What to choose from: anything, and where an exact evaluation does not fit also with every region used."""
        room = budget_bytes - sum(fixed_parts(self.profile, n, self.frozen).values())
        trained = GRADIENT_BYTES * self.profile.trainable_params + self.profile.optimizer_bytes
        if trained * (1 + MARGIN) + 1 > room:
            return []
        fits = [w for w in ("exact", *WHOLE) if w in self.profile.evaluation]
        fits = [w for w in fits if self.profile.evaluation[w].at(n) * (1 + MARGIN) + 1 <= room]
        return ["exact"] if "exact" in fits else ["exact", *fits]

    def _capacity(self, n: int, budget_bytes: int) -> float:
        """Bytes for what is held and worked with, of which the margin is taken on top."""
        room = budget_bytes - sum(fixed_parts(self.profile, n, self.frozen).values())
        later = GRADIENT_BYTES * self.profile.trainable_params if n < self.batch_size else 0
        return (room - 1) / (1 + MARGIN) - later

    def _program(self, n: int, way: str, chunk: int = 1) -> Program:
        key = (n, way, chunk)
        if key not in self._programs:
            self._programs[key] = Program(self.profile, n, n == self.batch_size, _allowed_for(way), chunk)
        return self._programs[key]


def _allowed_for(way: str) -> Allowed:
    """With `region` or `block` every one of them has to be used, so that the evaluation runs in chunks as well."""

    def allowed(site: SiteProfile, option: Option) -> bool:
        if way == "exact" or site.op != way:
            return not (way == "region" and site.op == "block" and option.storage is not Storage.NONE)
        return option.storage is not Storage.NONE

    return allowed


def _point(budget_bytes: int, c: _Candidate) -> FrontierPoint:
    return FrontierPoint(budget_bytes, c.peak_bytes, c.error, c.time, c.micro_batch)


def _monotone(points: list[FrontierPoint]) -> Iterator[FrontierPoint]:
    """Points whose error never rises with the budget: a larger budget may always use a smaller one's plan."""
    best: FrontierPoint | None = None
    for point in points:
        if best is not None and point.gradient_error > best.gradient_error:
            point = replace(best, budget_bytes=point.budget_bytes)
        best = point
        yield point


def _plan_of(
    profile: Profile,
    c: _Candidate,
    budget_bytes: int,
    batch_size: int,
    objective: str,
    smallest: int,
    margin_bytes: int,
) -> Plan:
    sites: Mapping[str, Storage] = c.solution.sites
    parts = dict(c.parts)
    parts["margin"] += margin_bytes
    return Plan(
        model=profile.model,
        adapter=profile.adapter,
        image_size=profile.image_size,
        precision=profile.precision,
        device=profile.device,
        batch_size=batch_size,
        micro_batch=c.micro_batch,
        accumulation=batch_size // c.micro_batch,
        chunk_samples=c.chunk_samples,
        frozen_weights=c.frozen_weights,
        sites=sites,
        mean_bits=mean_bits(profile, sites),
        predicted=Predicted(c.peak_bytes + margin_bytes, parts, c.error, c.time),
        solver=c.solution.report,
        budget_bytes=budget_bytes,
        min_feasible_budget_bytes=smallest,
        fingerprint=profile.fingerprint,
        objective=objective,
        held_by_storage=held_by_storage(profile, sites, c.micro_batch),
        tables=profile.tables_for(sites),
    )
