"""The errors s2a raises, as one tree.

S2AError                      anything s2a raises on purpose
├── InvalidInput              the caller's input is wrong (exit 2)
│   ├── UnknownField          no such field of a request; names the nearest
│   ├── UnknownModel          no such timm model; names the nearest
│   ├── WeightsMismatch       a weights file of another model; names the first keys that differ
│   ├── BadDataset            a dataset that cannot be trained on; lists every problem
│   ├── BadBudget             an unparsable or non-positive amount of memory
│   ├── BadAdapter            an adapter that does not exist, or that this model cannot take
│   └── StaleProfile          a profile or plan made for another model, device or version
├── UnsupportedSite           an operator met a dtype or device it has no implementation for (exit 2)
├── InfeasibleBudget          nothing fits the budget; carries the smallest budget that does (exit 3)
├── PlanMissed                a given plan took more than its budget in real steps; carries what it took (exit 3)
├── JobFailed                 the run itself failed (exit 4)
│   ├── OutOfMemory           the run hit its cap; carries what was asked and what was left
│   ├── Diverged              the loss is not finite; carries the step and the learning rate
│   └── BudgetExceeded        the run finished, and took more than its budget; carries what it took and its report
└── InternalError             our bug (exit 1)

A message carries its numbers and says what to do next. `code` is stable and machine-readable, `details` is JSON.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from s2a_core.names import printable
from s2a_core.sizes import format_apart, format_bytes

_Error = TypeVar("_Error", bound=BaseException)


class S2AError(Exception):
    """Base of everything s2a raises on purpose."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})


class InvalidInput(S2AError):
    """The caller's input is wrong; the message says what is allowed."""

    code = "invalid_input"
    exit_code = 2


class UnknownField(InvalidInput):
    """A request has no field of this name."""

    code = "unknown_field"

    def __init__(self, name: str, nearest: Sequence[str], what: str, known: Iterable[str]) -> None:
        hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}"
        super().__init__(f"{what} has no field {name!r}; {hint}", details={"field": name, "nearest": list(nearest)})


class UnknownModel(InvalidInput):
    """No timm model has this name."""

    code = "unknown_model"

    def __init__(self, name: str, nearest: Sequence[str]) -> None:
        hint = f"; did you mean {', '.join(nearest)}?" if nearest else "; `timm.list_models()` lists them all"
        super().__init__(f"no model is called {name!r}{hint}", details={"model": name, "nearest": list(nearest)})


class WeightsMismatch(InvalidInput):
    """The weights file belongs to another model."""

    code = "weights_mismatch"

    def __init__(self, path: str, model: str, missing: Sequence[str], unexpected: Sequence[str]) -> None:
        first = ", ".join([*(f"missing {k}" for k in missing[:3]), *(f"unexpected {k}" for k in unexpected[:3])])
        super().__init__(
            f"{path} does not hold weights of {model}: {first} "
            f"({len(missing)} missing, {len(unexpected)} unexpected keys)",
            details={"path": path, "model": model, "missing": list(missing[:20]), "unexpected": list(unexpected[:20])},
        )


class BadDataset(InvalidInput):
    """A dataset that cannot be trained on; every problem found is listed, by file name."""

    code = "bad_dataset"

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        source, problems = printable(source), [printable(problem) for problem in problems]
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        super().__init__(f"{source}: {shown}", details={"source": source, "problems": problems})


class BadBudget(InvalidInput):
    """An amount of memory that cannot be read or is not positive."""

    code = "bad_budget"


class BadAdapter(InvalidInput):
    """An adapter that does not exist, or that this model cannot take."""

    code = "bad_adapter"


class StaleProfile(InvalidInput):
    """A profile or plan that was made for another model, device or version."""

    code = "stale_profile"


class UnsupportedSite(S2AError):
    """An operator met a dtype or device it has no implementation for; the message names the site."""

    code = "unsupported_site"
    exit_code = 2


class InfeasibleBudget(S2AError):
    """Nothing fits the budget. is_estimate: the smallest one that does is not known; the one named is worth a try."""

    code = "infeasible_budget"
    exit_code = 3

    def __init__(
        self,
        *,
        budget_bytes: int,
        min_feasible_budget_bytes: int,
        binding: str,
        binding_bytes: int,
        details: Mapping[str, Any] | None = None,
        is_estimate: bool = False,
    ) -> None:
        budget, smallest = format_apart(budget_bytes, min_feasible_budget_bytes)
        words = "what does is not known yet, try" if is_estimate else "the smallest budget that does is"
        super().__init__(
            f"nothing fits {budget}: {words} {smallest}; the largest part is {binding} ({format_bytes(binding_bytes)})",
            details={
                "budget_bytes": budget_bytes,
                "min_feasible_budget_bytes": min_feasible_budget_bytes,
                "binding": binding,
                "binding_bytes": binding_bytes,
                "is_estimate": is_estimate,
                **(details or {}),
            },
        )
        self.is_estimate = is_estimate
        self.binding, self.binding_bytes = binding, binding_bytes
        self.budget_bytes = budget_bytes
        self.min_feasible_budget_bytes = min_feasible_budget_bytes

    def at_least(self, smallest_bytes: int) -> InfeasibleBudget:
        """The same, naming no smaller budget than this one."""
        if smallest_bytes <= self.min_feasible_budget_bytes:
            return self
        named = ("budget_bytes", "min_feasible_budget_bytes", "binding", "binding_bytes", "is_estimate")
        return InfeasibleBudget(
            budget_bytes=self.budget_bytes,
            min_feasible_budget_bytes=smallest_bytes,
            binding=self.binding,
            binding_bytes=self.binding_bytes,
            details={name: value for name, value in self.details.items() if name not in named},
            is_estimate=self.is_estimate,
        )


class PlanMissed(S2AError):
    """A given plan took more than its budget in real steps."""

    code = "plan_missed"
    exit_code = 3

    def __init__(self, budget_bytes: int, measured_bytes: int) -> None:
        budget, took = format_apart(budget_bytes, measured_bytes)
        super().__init__(
            f"the plan took {took} in real steps; its budget is {budget}: plan again, with `s2a plan --verify --save` "
            "or by training without the plan",
            details={"budget_bytes": budget_bytes, "measured_peak_bytes": measured_bytes},
        )


class JobFailed(S2AError):
    """The run failed for a reason that is neither the caller's input nor our bug."""

    code = "job_failed"
    exit_code = 4


class OutOfMemory(JobFailed):
    """The run hit its memory cap."""

    code = "out_of_memory"


class Diverged(JobFailed):
    """The loss of a run became infinite or not a number."""

    code = "diverged"

    def __init__(self, loss: float, step: int, lr: float) -> None:
        cause = (
            "the weights or images that training begins with hold values that are not finite, or far too large ones"
            if step == 1
            else f"training diverged at a learning rate of {lr:.3g}: use a smaller --lr; --resume with it goes on "
            "from the last good checkpoint"
        )
        super().__init__(
            f"the loss of step {step} is {loss}: {cause}", details={"step": step, "loss": str(loss), "lr": lr}
        )


class BudgetExceeded(JobFailed):
    """The run finished and its results are written, but it took more than its budget."""

    code = "budget_exceeded"

    def __init__(self, budget_bytes: int, measured_bytes: int, output: Any, report: Mapping[str, Any]) -> None:
        budget, took = format_apart(budget_bytes, measured_bytes)
        super().__init__(
            f"the run took {took} at its peak; its budget is {budget}. What it trained is in {output}; for a run "
            f"inside the budget take a smaller --batch-size, or a budget of {took}",
            details={"budget_bytes": budget_bytes, "measured_peak_bytes": measured_bytes},
        )
        self.report = dict(report)


class InternalError(S2AError):
    """A state that s2a's own code must never reach."""

    code = "internal_error"


def without_frames(error: _Error) -> _Error:
    """The error, after the variables of the frames that it came through were let go: models and batches on a device
    stay alive for as long as somebody holds the error.
    """
    known: set[int] = set()  # an error that is raised again may come to stand behind its own cause
    causes: list[BaseException | None] = [error]
    while causes:
        cause = causes.pop()
        if cause is not None and id(cause) not in known:
            known.add(id(cause))
            traceback.clear_frames(cause.__traceback__)
            causes += (cause.__cause__, cause.__context__)
    return error
