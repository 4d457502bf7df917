"""The outermost search: which adapter and which precision, each with a profile of its own, asked for only when needed.

Profiles cost seconds, so candidates come in order of preference: the adapter that trains best (docs/accuracy; on CNNs
all weights) in the usual precision, then the structural modules of `auto`, the same in bf16, then adapters that need
less. The search ends at the first plan that no later candidate could improve on: its gradient is as good as exact.
Otherwise all are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from s2a_core.adapters.spec import AUTO, AUTO_OR_FULL, FALLBACKS, FULL
from s2a_core.errors import InfeasibleBudget, S2AError
from s2a_core.planning.overhead import Overhead
from s2a_core.planning.scoring import exact_ms
from s2a_core.planning.search import NEGLIGIBLE_ERROR, Objective
from s2a_core.planning.search import plan as plan_one
from s2a_core.planning.types import Alternative, Plan
from s2a_core.profiling.types import Profile
from s2a_core.sizes import format_bytes

NARROW = "bf16"
# A gradient error below this trains as well as none (docs/accuracy: 4-bit codes lose no accuracy).
ACCEPTABLE_ERROR = 0.1


@dataclass(frozen=True)
class Candidate:
    """An adapter and a precision to plan for. precision: None is the device's usual one."""

    adapter: str
    precision: str | None


def candidates(adapter: str, precision: str | None) -> list[Candidate]:
    """What may be chosen for a request, best first; one of each where the user has said which."""
    precisions = [precision] if precision else [None, NARROW]
    found = [Candidate(adapter, p) for p in precisions]
    if adapter == AUTO:
        found.insert(0, Candidate(AUTO_OR_FULL, precisions[0]))
        found += [Candidate(fallback, precisions[-1]) for fallback in FALLBACKS]
    return found


def plan_over(
    wanted: Sequence[Candidate],
    profile_of: Callable[[Candidate], Profile],
    budget_bytes: int,
    batch_size: int,
    objective: Objective = "accuracy",
    overhead_of: Callable[[Profile], Overhead] = lambda profile: Overhead(),
) -> tuple[Plan, Candidate]:
    """The best plan over adapters and precisions, and where it comes from. profile_of: measures or looks one up;
    overhead_of: what a run with a profile takes beyond its steps.

    Raises InfeasibleBudget with the smallest budget of any candidate, and what the first candidate's profile raises.
    """
    tried: list[tuple[Plan, Candidate]] = []
    alternatives: list[Alternative] = []
    refusals: list[InfeasibleBudget] = []
    seen: set[str] = set()
    same: set[Candidate] = set()
    for candidate in wanted:
        if candidate in same:
            continue
        try:
            found = profile_of(candidate)
        except S2AError:
            if candidate is wanted[0]:
                raise
            continue
        if found.fingerprint in seen:
            continue
        seen.add(found.fingerprint)
        if candidate.adapter == AUTO_OR_FULL and found.adapter != FULL:
            same.add(replace(candidate, adapter=AUTO))
        try:
            made = plan_one(found, budget_bytes, batch_size, objective, overhead_of(found))
        except InfeasibleBudget as refusal:
            refusals.append(refusal)
            alternatives.append(Alternative(found.adapter, found.precision, refusal.min_feasible_budget_bytes))
            continue
        p = made.predicted
        alternatives.append(
            Alternative(
                made.adapter, made.precision, made.min_feasible_budget_bytes, p.peak_bytes, p.gradient_error,
                p.relative_step_time * exact_ms(found, batch_size),
            )
        )  # fmt: skip
        tried.append((made, candidate))
        if objective != "speed" and p.gradient_error <= (NEGLIGIBLE_ERROR if len(tried) == 1 else ACCEPTABLE_ERROR):
            break
    if not tried:
        raise min(refusals, key=lambda refusal: refusal.min_feasible_budget_bytes)
    best, source = _best(tried, alternatives, objective)
    reason = _reason(best, tuple(alternatives), budget_bytes)
    return replace(best, adapter_reason=reason, alternatives=tuple(alternatives)), source


def _best(
    tried: Sequence[tuple[Plan, Candidate]], alternatives: Sequence[Alternative], objective: Objective
) -> tuple[Plan, Candidate]:
    """speed: the least time among those of the first adapter. Else the first with an acceptable error, or the least."""
    first = tried[0][0].adapter
    of_first = [pair for pair in tried if pair[0].adapter == first]
    if objective == "speed":
        times = {(a.adapter, a.precision): a.step_ms_per_sample or 0.0 for a in alternatives}
        return min(of_first, key=lambda pair: times[pair[0].adapter, pair[0].precision])
    for pair in tried:
        if pair[0].predicted.gradient_error <= ACCEPTABLE_ERROR:
            return pair
    return min(of_first, key=lambda pair: pair[0].predicted.gradient_error)


def _reason(best: Plan, alternatives: Sequence[Alternative], budget_bytes: int) -> str:
    """Why this adapter and precision, for people."""
    others = [a for a in alternatives if (a.adapter, a.precision) != (best.adapter, best.precision)]
    if not others:
        return f"the first choice for this model fits with a gradient error of {best.predicted.gradient_error:.2g}"
    words = []
    for other in others:
        name = f"{other.adapter} in {other.precision}"
        if other.peak_bytes is None:
            words.append(f"{name} needs at least {format_bytes(other.min_feasible_budget_bytes)}")
        else:
            words.append(f"{name} would have a gradient error of {other.gradient_error or 0.0:.2g}")
    return f"within {format_bytes(budget_bytes)}: " + ", ".join(words)
