"""`plan`: the best micro-batch, way of running and storage per site under a budget; inner choices solved exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from s2a_core.errors import InfeasibleBudget, InvalidInput
from s2a_core.planning.memory import WAYS, breakdown, held_per_sample
from s2a_core.planning.scoring import gradient_error, mean_bits, relative_step_time
from s2a_core.planning.solve import Solution, choose
from s2a_core.planning.types import Baseline, FrontierPoint, Plan, Predicted
from s2a_core.profiling.types import Option, Profile, SiteProfile
from s2a_core.storage import FrozenWeights, Storage

Objective = Literal["accuracy", "speed", "balanced"]
# Below this relative error the gradient's own sampling noise hides the difference (two exact batches differ by 1.65).
NEGLIGIBLE_ERROR = 0.02
# A smaller micro-batch costs step time: kernels run emptier. Charged per halving, so that plans prefer larger ones.
HALVING_COST = 0.03
FRONTIER_FACTORS = (0.5, 0.75, 1.5, 2.0)


@dataclass(frozen=True)
class _Candidate:
    micro_batch: int
    frozen_weights: FrozenWeights
    solution: Solution
    peak_bytes: int
    error: float
    time: float


def plan(
    profile: Profile,
    budget_bytes: int,
    batch_size: int = 64,
    objective: Objective = "accuracy",
    margin_bytes: int = 0,
) -> Plan:
    """The plan for a batch of `batch_size` samples inside `budget_bytes`.

    margin_bytes: kept free on top of the predicted peak (what a verification run found missing).
    Raises InfeasibleBudget with the smallest budget that fits, InvalidInput for a batch below one.
    """
    if batch_size < 1:
        raise InvalidInput(f"the batch size must be at least 1, not {batch_size}", details={"batch_size": batch_size})
    if objective not in ("accuracy", "speed", "balanced"):
        raise InvalidInput(f"the objective is accuracy, speed or balanced, not {objective!r}")
    smallest, binding = smallest_budget(profile, margin_bytes)
    best = _best(profile, budget_bytes - margin_bytes, batch_size, objective)
    if best is None:
        name, size = binding
        raise InfeasibleBudget(
            budget_bytes=budget_bytes, min_feasible_budget_bytes=smallest, binding=name, binding_bytes=size
        )
    frontier = []
    for factor in FRONTIER_FACTORS:
        other = _best(profile, int(budget_bytes * factor) - margin_bytes, batch_size, objective)
        if other is not None:
            frontier.append(_point(int(budget_bytes * factor), other))
    frontier.append(_point(budget_bytes, best))
    return replace(
        _plan_of(profile, best, budget_bytes, batch_size, objective, smallest, margin_bytes),
        frontier=tuple(_monotone(sorted(frontier, key=lambda p: p.budget_bytes))),
        baselines=tuple(Baseline(b.name, b.fixed_bytes + batch_size * b.bytes_per_sample) for b in profile.baselines),
    )


def smallest_budget(profile: Profile, margin_bytes: int = 0) -> tuple[int, tuple[str, int]]:
    """The smallest budget any plan fits, one sample at a time, and the largest part of its peak."""
    best: tuple[int, tuple[str, int]] | None = None
    for way in WAYS:
        if way not in profile.working:
            continue
        solution = choose(profile.sites, float("1e18"), _bytes_cost, _allowed_for(way))
        if solution is None:
            continue
        parts = breakdown(profile, solution.sites, 1, _frozen(profile))
        peak = sum(parts.values()) + margin_bytes
        if best is None or peak < best[0]:
            best = peak, max(parts.items(), key=lambda item: item[1])
    assert best is not None  # "exact" is always there
    return best


def _best(profile: Profile, budget_bytes: int, batch_size: int, objective: Objective) -> _Candidate | None:
    candidates = list(_candidates(profile, budget_bytes, batch_size, objective))
    return min(candidates, key=lambda c: _score(c, objective, batch_size), default=None)


def _candidates(profile: Profile, budget_bytes: int, batch_size: int, objective: Objective) -> Iterator[_Candidate]:
    frozen = _frozen(profile)
    for micro_batch in _divisors(batch_size):
        found = False
        for way in WAYS:
            if way not in profile.working:
                continue
            floor = sum(breakdown(profile, _nothing(profile, way), micro_batch, frozen).values())
            empty = held_per_sample(profile, _nothing(profile, way))
            # What remains for held bytes, of which breakdown takes a margin on top.
            capacity = (budget_bytes - floor) / (1.02 * micro_batch) + empty - profile.unlisted_bytes_per_sample
            if capacity < 0:
                continue
            solution = choose(profile.sites, capacity, _cost_of(objective, profile), _allowed_for(way))
            if solution is None:
                continue
            peak = sum(breakdown(profile, solution.sites, micro_batch, frozen).values())
            if peak <= budget_bytes:
                found = True
                yield _Candidate(
                    micro_batch,
                    frozen,
                    solution,
                    peak,
                    gradient_error(profile, solution.sites),
                    relative_step_time(profile, solution.sites),
                )
        if found and micro_batch <= max(batch_size // 8, 1):
            return


def _divisors(batch_size: int) -> Iterator[int]:
    """Micro-batches that divide the batch, largest first."""
    for micro_batch in range(batch_size, 0, -1):
        if batch_size % micro_batch == 0:
            yield micro_batch


def _score(candidate: _Candidate, objective: Objective, batch_size: int) -> tuple[float, float]:
    halvings = (batch_size // candidate.micro_batch).bit_length() - 1
    time = candidate.time + HALVING_COST * halvings
    error = max(candidate.error, NEGLIGIBLE_ERROR)
    if objective == "accuracy":
        return error, time
    if objective == "speed":
        return time, error
    return error / NEGLIGIBLE_ERROR * 0.05 + time, error


def _cost_of(objective: Objective, profile: Profile) -> Callable[[SiteProfile, Option], float]:
    step = max(profile.step_ms_per_sample, 1e-9)

    def cost(site: SiteProfile, option: Option) -> float:
        error, time = option.gradient_error**2, max(option.extra_ms_per_sample, 0.0) / step
        if objective == "speed":
            return time + 1e-3 * error
        if objective == "balanced":
            return time + error
        return error + 1e-6 * time

    return cost


def _bytes_cost(site: SiteProfile, option: Option) -> float:
    return float(option.bytes_per_sample)


def _allowed_for(way: str) -> Callable[[SiteProfile, Option], bool]:
    """Options a way of running may use: exact ones always, codes and regions and blocks as the way says."""

    def allowed(site: SiteProfile, option: Option) -> bool:
        if site.op == "block":
            return way == "block" or option.storage is Storage.NONE
        if site.op == "region":
            return way in ("region", "block") or option.storage is Storage.NONE
        return way != "exact" or option.storage is Storage.EXACT

    return allowed


def _nothing(profile: Profile, way: str) -> dict[str, Storage]:
    """A choice that only marks the way of running, so that its working set is counted."""
    for site in profile.sites:
        for option in site.options:
            if way == "block" and site.op == "block" and option.storage.bits:
                return {site.name: option.storage}
            if way == "region" and site.op == "region" and option.storage.bits:
                return {site.name: option.storage}
            if way == "codes" and site.op not in ("block", "region") and option.storage.bits:
                return {site.name: option.storage}
    return {}


def _frozen(profile: Profile) -> FrozenWeights:
    return "bf16" if profile.precision == "bf16" else "keep"


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
    parts = breakdown(profile, sites, c.micro_batch, c.frozen_weights)
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
        chunk_samples=1,
        frozen_weights=c.frozen_weights,
        sites=sites,
        mean_bits=mean_bits(profile, sites),
        predicted=Predicted(c.peak_bytes + margin_bytes, parts, c.error, c.time),
        solver=c.solution.report,
        budget_bytes=budget_bytes,
        min_feasible_budget_bytes=smallest,
        fingerprint=profile.fingerprint,
        objective=objective,
    )
