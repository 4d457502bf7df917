"""Who took the memory that an attempt was promised: other jobs above their reservation, or processes nobody queued."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.models.tables import Attempt


def culprits(verdict: dict[str, Any], others: Iterable[tuple[Attempt, str | None]]) -> list[dict[str, Any]]:
    """From a verdict's `users` ({pid: bytes}) and the device's live attempts with the ids of their jobs, None of a job
    that may not be named; largest excess first.

    A job counts with what it uses above its reservation; a process that belongs to no job with all that it uses.
    """
    by_pid = {int((attempt.handle or {}).get("pid") or -1): (attempt, job_id) for attempt, job_id in others}
    named = []
    for pid, used in (verdict.get("users") or {}).items():
        attempt, job_id = by_pid.get(int(pid), (None, None))
        excess = int(used) - (attempt.reserved_bytes if attempt else 0)
        if excess > 0:
            reserved = attempt.reserved_bytes if attempt else None
            named.append(
                {"pid": int(pid), "job": job_id, "bytes": int(used), "reserved_bytes": reserved, "excess_bytes": excess}
            )
    return sorted(named, key=lambda culprit: -int(culprit["excess_bytes"]))
