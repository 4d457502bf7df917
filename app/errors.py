"""Errors of the service and the one table from any error to an HTTP status and a problem document.

S2AError
└── ServiceError
    ├── NotFound         no such thing, or it is another team's (404)
    ├── NotAuthorized    no key, a wrong key or a revoked one (401)
    ├── NotAllowed       the key has not the scope (403)
    ├── WrongState       the job is not in a state in which that can be done (409)
    └── StaleAttempt     a newer attempt of the job exists; the runner has to stop (410)
"""

from __future__ import annotations

from typing import Any

from s2a_core.errors import InfeasibleBudget, InvalidInput, S2AError


class ServiceError(S2AError):
    """Base of the service's own errors."""


class NotFound(ServiceError):
    """No such thing, or it belongs to another team."""

    code = "not_found"
    exit_code = 2


class NotAuthorized(ServiceError):
    """No key, a wrong key or a revoked one."""

    code = "not_authorized"
    exit_code = 2


class NotAllowed(ServiceError):
    """The key has not the scope."""

    code = "not_allowed"
    exit_code = 2


class WrongState(ServiceError):
    """The job is not in a state in which that can be done."""

    code = "wrong_state"
    exit_code = 2


class StaleAttempt(ServiceError):
    """A newer attempt of the job exists, or the job has ended; the runner has to stop."""

    code = "stale_attempt"


_STATUS: tuple[tuple[type[S2AError], int], ...] = (
    (NotFound, 404),
    (NotAuthorized, 401),
    (NotAllowed, 403),
    (WrongState, 409),
    (StaleAttempt, 410),
    (InfeasibleBudget, 422),
    (InvalidInput, 422),
)


def status_of(error: S2AError) -> int:
    """The HTTP status of an error; 500 for what is not in the table."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem(status: int, code: str, title: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
    """An RFC 9457 document."""
    return {
        "type": f"urn:s2a:error:{code}",
        "title": title,
        "status": status,
        "code": code,
        "details": details or {},
    }
