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
from s2a_core.errors import InvalidInput, S2AError


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
    kind = _KINDS.get(code)
    if kind is None:
        return ProblemError(f"{status}: {title}", details=dict(problem))
    # Some exceptions build their message from parts; here the message is made already.
    error = kind.__new__(kind)
    S2AError.__init__(error, title, details=details)
    for name in ("budget_bytes", "min_feasible_budget_bytes", "is_estimate"):
        if name in details:
            setattr(error, name, details[name])
    return error
