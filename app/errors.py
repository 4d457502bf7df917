"""Errors of the service and the one table from any error to an HTTP status and a problem document.

S2AError
└── ServiceError
    ├── NotFound         no such thing, or it is another team's (404)
    ├── NotAuthorized    no key, a wrong key or a revoked one (401)
    ├── NotAllowed       the key has not the scope (403)
    ├── NoDeviceFits     no device could ever hold the job (422)
    ├── WrongState       the thing is not in a state in which that can be done (409)
    │   └── InProgress   the same request is being served (409)
    ├── StaleAttempt     a newer attempt of the job exists; the runner has to stop (409)
    ├── Changed          the thing is no longer the one that If-Match names (412)
    ├── TooLarge         a body, a part or an upload passes its limit (413)
    ├── OutOfRange       a range that the file does not have (416)
    ├── KeyReused        an Idempotency-Key came with another request before (422)
    └── TooManyRequests  the key sends faster than it may (429)
"""

from __future__ import annotations

from typing import TypeVar

from s2a_core.errors import InfeasibleBudget, InvalidInput, S2AError

Row = TypeVar("Row")


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
    """The thing is not in a state in which that can be done."""

    code = "wrong_state"
    exit_code = 2


class InProgress(WrongState):
    """The same request, by its Idempotency-Key, is being served at this moment."""

    code = "in_progress"


class Changed(ServiceError):
    """The thing is no longer the one that If-Match names: read it again."""

    code = "changed"
    exit_code = 2


class TooLarge(ServiceError):
    """A body, a part or an upload passes its limit."""

    code = "too_large"
    exit_code = 2


class OutOfRange(ServiceError):
    """A range of bytes that the file does not have."""

    code = "out_of_range"
    exit_code = 2


class KeyReused(ServiceError):
    """An Idempotency-Key came with another request before."""

    code = "idempotency_key_reused"
    exit_code = 2


class TooManyRequests(ServiceError):
    """The key sends faster than it may; details.retry_after_s says when to try again."""

    code = "too_many_requests"
    exit_code = 2


class NoDeviceFits(ServiceError):
    """No device of this service could ever hold the job."""

    code = "no_device_fits"
    exit_code = 3


class StaleAttempt(ServiceError):
    """A newer attempt of the job exists, or the job has ended; the runner has to stop."""

    code = "stale_attempt"


def existing(row: Row | None, what: str) -> Row:
    """The row that was asked for. Raises NotFound where there is none, or it is another team's."""
    if row is None:
        raise NotFound(f"no {what[:110]}")
    return row


_STATUS: tuple[tuple[type[S2AError], int], ...] = (
    (NotFound, 404),
    (NotAuthorized, 401),
    (NotAllowed, 403),
    (NoDeviceFits, 422),
    (WrongState, 409),
    (StaleAttempt, 409),
    (Changed, 412),
    (TooLarge, 413),
    (OutOfRange, 416),
    (KeyReused, 422),
    (TooManyRequests, 429),
    (InfeasibleBudget, 422),
    (InvalidInput, 422),
)


def status_of(error: S2AError) -> int:
    """The HTTP status of an error; 500 for what is not in the table."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
