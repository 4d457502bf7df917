"""The outermost search: which adapter, precision and weight format, each with a profile that is made when needed.

Profiles cost seconds, so candidates come in order of preference: the adapter that trains best (docs/accuracy; on CNNs
all weights) in the usual precision, then the structural modules of `auto`, the same in bf16, the same with coded
weights where those save enough, then adapters that need less. The search ends at the first plan that no later candidate
could improve on: its gradient is as good as exact. Otherwise all are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import hypot

from s2a_core.adapters.spec import AUTO, AUTO_OR_FULL, FALLBACKS, FULL
from s2a_core.errors import InfeasibleBudget, S2AError
from s2a_core.planning.objective import NEGLIGIBLE_ERROR, Objective
from s2a_core.planning.overhead import Overhead
from s2a_core.planning.scoring import Cut, step_ms
from s2a_core.planning.search import plan as plan_one
from s2a_core.planning.search import smallest_budget
from s2a_core.planning.types import Alternative, Plan
from s2a_core.profiling.types import Profile
from s2a_core.sizes import format_bytes
from s2a_core.storage import AS_NEEDED, WeightFormat

NARROW = "bf16"
# A gradient error below this trains as well as none (docs/accuracy: 4-bit codes lose no accuracy).
ACCEPTABLE_ERROR = 0.1


# What `auto` may code frozen weights as, its bytes, and the share of all weights it must save to be worth a profile.
# int8 changes the outputs of DeiT-tiny's layers by .7 % (bf16: .1 %), nf4 by 7 %: that one has to be asked for.
CODED: WeightFormat = "int8"
CODED_SHARE_OF_FP32 = 0.26
WORTHWHILE_SHARE = 0.05


@dataclass(frozen=True)
class Candidate:
    """An adapter, a precision and a weight format to plan for. precision: None is the device's usual one.

    is_mixed: weights may stay numbers where the budget allows, those first that bear codes worst.
    """

    adapter: str
    precision: str | None
    weight_format: str = "float"
    is_mixed: bool = field(default=False, compare=False)  # the profile is the same

    def widenable(self, profile: Profile) -> tuple[str, ...]:
        """The coded weights of its profile that may stay numbers."""
        return tuple(weight.name for weight in profile.weights) if self.is_mixed else ()

    def error(self, plan: Plan) -> float:
        """Of a plan's gradient, as far as it was a choice."""
        return hypot(plan.predicted.gradient_error, plan.predicted.weight_error if self.is_mixed else 0.0)


def candidates(adapter: str, precision: str | None, weight_format: str = AS_NEEDED) -> list[Candidate]:
    """What may be chosen for a request, best first; one of each where the user has said which."""
    first = "float" if weight_format == AS_NEEDED else weight_format
    precisions = [precision] if precision else [None, NARROW]
    plain = [Candidate(adapter, p, first) for p in precisions]
    if adapter == AUTO:
        plain.insert(0, Candidate(AUTO_OR_FULL, precisions[0], first))
        plain += [Candidate(fallback, precisions[-1], first) for fallback in FALLBACKS]
    if weight_format != AS_NEEDED or adapter == FULL:
        return plain
    last = precisions[-1]
    codable = [c for c in plain if c.precision == last and c.adapter != AUTO_OR_FULL]
    return [
        one for c in plain for one in ((c, replace(c, weight_format=CODED, is_mixed=True)) if c in codable else (c,))
    ]


def plan_over(
    wanted: Sequence[Candidate],
    profile_of: Callable[[Candidate], Profile],
    budget_bytes: int,
    batch_size: int,
    objective: Objective = "accuracy",
    overhead_of: Callable[[Profile], Overhead] = lambda profile: Overhead(),
) -> tuple[Plan, Candidate]:
    """The best plan over adapters, precisions and weight formats, and where it comes from. profile_of: measures or
    looks one up; overhead_of: what a run with a profile takes beyond its steps.

    The plan's smallest budget is its own candidate's; `smallest_over` knows that of all.
    Raises InfeasibleBudget with the smallest budget of any candidate, and what else the first profile raises.
    """
    judged = _Judged(budget_bytes)
    seen: set[str] = set()
    same: set[Candidate] = set()
    passed: list[Candidate] = []
    for candidate in (*wanted, None):
        if candidate is None:  # the end
            if judged.tried or not passed:
                break
            candidate = passed[-1]  # nothing fits: what the smallest of all needs
        elif candidate in same or not judged.is_worthwhile(candidate, objective):
            continue
        elif judged.saved_bytes(candidate) < judged.missing_bytes(candidate):
            passed.append(candidate)
            continue
        try:
            profile = profile_of(candidate)
        except InfeasibleBudget as refusal:  # not even its profile can be measured within the budget
            judged.refusals.append(refusal)
            continue
        except S2AError:
            if candidate is wanted[0]:
                raise
            continue
        if profile.fingerprint in seen:
            continue
        seen.add(profile.fingerprint)
        stands_for = [candidate]
        if candidate.adapter == AUTO_OR_FULL and profile.adapter != FULL:
            stands_for.append(replace(candidate, adapter=AUTO))
            same.add(stands_for[-1])
        made = judged.judge(stands_for, profile, batch_size, objective, overhead_of(profile))
        enough = NEGLIGIBLE_ERROR if len(judged.tried) == 1 else ACCEPTABLE_ERROR
        if made is not None and objective != "speed" and candidate.error(made) <= enough:
            break
    if not judged.tried:
        raise min(judged.refusals, key=lambda refusal: (refusal.is_estimate, refusal.min_feasible_budget_bytes))
    best, source = _best(judged.tried, judged.alternatives, objective)
    reason = _reason(best, tuple(judged.alternatives), budget_bytes)
    return replace(best, adapter_reason=reason, alternatives=tuple(judged.alternatives)), source


def smallest_over(
    wanted: Sequence[Candidate],
    profile_of: Callable[[Candidate], Profile | None],
    batch_size: int,
    overhead_of: Callable[[Profile], Overhead],
) -> int | None:
    """The smallest budget that any candidate is planned for: of the last adapter in its last precision, which needs
    least, with numbers and codes as weights. profile_of: errors and times may be missing; None where it is not known,
    which makes the answer None.
    """
    last = wanted[-1]
    sizes: list[int] = []
    with_numbers: Profile | None = None
    for candidate in wanted:
        if (candidate.adapter, candidate.precision) != (last.adapter, last.precision):
            continue
        is_coded = candidate.weight_format == CODED
        if is_coded and with_numbers is not None and not _is_worth_coding(with_numbers):
            continue
        profile = profile_of(candidate)
        if profile is None:
            return None
        with_numbers = with_numbers if is_coded else profile
        sizes.append(smallest_budget(profile, batch_size, overhead_of(profile)))
    return min(sizes)


def _saved_by_codes(profile: Profile) -> int:
    """Bytes that codes save of the weights of a profile with numbers."""
    stored_bytes = profile.frozen_bytes // (2 if profile.precision == NARROW else 1)
    return stored_bytes - int(CODED_SHARE_OF_FP32 * profile.frozen_bytes)


def _is_worth_coding(profile: Profile) -> bool:
    return _saved_by_codes(profile) >= WORTHWHILE_SHARE * profile.params_bytes


class _Judged:
    """What was planned for, and what came of it."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.tried: list[tuple[Plan, Candidate]] = []
        self.alternatives: list[Alternative] = []
        self.refusals: list[InfeasibleBudget] = []
        self._of: dict[Candidate, tuple[Profile, Alternative]] = {}

    def judge(
        self, of: Sequence[Candidate], profile: Profile, batch_size: int, objective: Objective, overhead: Overhead
    ) -> Plan | None:
        """The plan of a profile, None where nothing fits. of: the candidates that it is the profile of."""
        made = None
        try:
            widenable = of[0].widenable(profile)
            made = plan_one(profile, self.budget_bytes, batch_size, objective, overhead, widenable=widenable)
        except InfeasibleBudget as refusal:
            self.refusals.append(refusal)
            needed = refusal.min_feasible_budget_bytes
            alternative = Alternative(profile.adapter, profile.precision, needed, weight_format=profile.weight_format)
        else:
            p = made.predicted
            assert made.min_feasible_budget_bytes is not None  # of one profile it is always known
            alternative = Alternative(
                made.adapter, made.precision, made.min_feasible_budget_bytes, p.peak_bytes, of[0].error(made),
                p.relative_step_time * step_ms(profile, {}, Cut(batch_size)), made.weight_format,
            )  # fmt: skip
            self.tried.append((made, of[0]))
        self.alternatives.append(alternative)
        self._of |= dict.fromkeys(of, (profile, alternative))
        return made

    def is_worthwhile(self, candidate: Candidate, objective: Objective) -> bool:
        """Whether a candidate with coded weights differs enough from the same one with numbers. True for all others."""
        known = self._with_numbers(candidate)
        if known is None:
            return True
        is_slower_for_nothing = objective == "speed" and known[1].peak_bytes is not None
        return not is_slower_for_nothing and _is_worth_coding(known[0])

    def saved_bytes(self, candidate: Candidate) -> int:
        """What codes save of the weights of the same candidate with numbers; 0 where that is not known."""
        known = self._with_numbers(candidate)
        return 0 if known is None else _saved_by_codes(known[0])

    def missing_bytes(self, candidate: Candidate) -> int:
        """What the same candidate with numbers needs beyond the budget; 0 where it fits or is not known."""
        known = self._with_numbers(candidate)
        return 0 if known is None else max(known[1].min_feasible_budget_bytes - self.budget_bytes, 0)

    def _with_numbers(self, candidate: Candidate) -> tuple[Profile, Alternative] | None:
        return self._of.get(replace(candidate, weight_format="float")) if candidate.weight_format == CODED else None


def _best(
    tried: Sequence[tuple[Plan, Candidate]], alternatives: Sequence[Alternative], objective: Objective
) -> tuple[Plan, Candidate]:
    """speed: the least time among those of the first adapter. Else the first with an acceptable error, or the least."""
    first = tried[0][0].adapter
    of_first = [pair for pair in tried if pair[0].adapter == first]
    if objective == "speed":
        times = {a.name: a.step_ms_per_sample or 0.0 for a in alternatives}
        return min(of_first, key=lambda pair: times[_name(pair[0])])
    for pair in tried:
        if pair[1].error(pair[0]) <= ACCEPTABLE_ERROR:
            return pair
    return min(of_first, key=lambda pair: pair[1].error(pair[0]))


def _reason(best: Plan, alternatives: Sequence[Alternative], budget_bytes: int) -> str:
    """Why this adapter, precision and weight format, for people."""
    others = [a for a in alternatives if a.name != _name(best)]
    if not others:
        return f"the first choice for this model fits with a gradient error of {best.predicted.gradient_error:.2g}"
    words = []
    for other in others:
        if other.peak_bytes is None:
            words.append(f"{other.name} needs at least {format_bytes(other.min_feasible_budget_bytes)}")
        else:
            words.append(f"{other.name} would have a gradient error of {other.gradient_error or 0.0:.2g}")
    return f"within {format_bytes(budget_bytes)}: " + ", ".join(words)


def _name(plan: Plan) -> str:
    """As the alternative of this plan is called."""
    return Alternative(plan.adapter, plan.precision, 0, weight_format=plan.weight_format).name
