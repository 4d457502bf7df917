"""From problem documents back to the exceptions of the same names, so that code reads alike on both sides.

ProblemError                what the service says that has no name of its own here; `status`, `problem`
Unreachable                 nobody answers at that address
NotFound, NotAllowed, ...   as in app.errors
InvalidInput, BadBudget, InfeasibleBudget, ...   as in s2a_core.errors
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app import errors as service
from s2a_core import errors as core
from s2a_core.errors import InfeasibleBudget, InvalidInput, JobFailed, S2AError


class ProblemError(S2AError):
    """The service refused for a reason that has no exception of its own; `details` is its problem document."""

    code = "service"
    exit_code = 2


class Unreachable(ProblemError):
    """Nobody answers at the address."""

    code = "unreachable"


def _tree(kind: type[S2AError]) -> Iterator[type[S2AError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _by_code() -> dict[str, type[S2AError]]:
    by_code = {}
    for module in (core, service):
        for kind in _tree(S2AError):
            if kind.__module__ == module.__name__:
                by_code[kind.code] = kind
    return by_code


_KINDS = _by_code()


def error_of(status: int, problem: Mapping[str, Any]) -> S2AError:
    """The exception a problem document stands for; its details and what it points at are kept."""
    title = str(problem.get("title") or f"the service answered {status}")
    wrong = [e for e in problem.get("errors") or [] if isinstance(e, Mapping)]
    if wrong:
        places = "; ".join(
            f"{e.get('pointer') or e.get('parameter') or 'the request'}: {e.get('detail')}" for e in wrong
        )
        title = places if len(wrong) > 1 else title
    details = {**(problem.get("details") or {})}
    if problem.get("request_id"):
        details["request_id"] = problem["request_id"]
    code = str(problem.get("code") or "")
    if code in ("invalid_request", "unstorable"):
        return InvalidInput(title, details={**details, "errors": wrong})
    if code not in _KINDS:
        return ProblemError(f"{status}: {title}", details=dict(problem))
    return _error(_KINDS[code], title, details)


def failure_of(reason: Mapping[str, Any], message: str) -> S2AError:
    """The exception of a job or plan that ended for this reason: JobFailed, but for what fits no budget its own."""
    kind = _KINDS.get(str(reason.get("code")), JobFailed)
    if kind.exit_code != InfeasibleBudget.exit_code:
        return JobFailed(message, details=reason)
    return _error(kind, message, reason.get("details") or {})


def _error(kind: type[S2AError], message: str, details: Mapping[str, Any]) -> S2AError:
    """An exception whose message is made already; some build theirs from parts."""
    error = kind.__new__(kind)
    S2AError.__init__(error, message, details=details)
    for name in ("budget_bytes", "min_feasible_budget_bytes", "is_estimate"):
        if name in details:
            setattr(error, name, details[name])
    return error
