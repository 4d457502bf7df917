"""Refuses at submit a job that no device could ever hold, and says which budget and plan come nearest."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from app.errors import NoDeviceFits
from app.models import Device, DeviceState, Job
from app.queue.ledger import Ledger, default_kind, waiting_of
from app.queue.policy import Rules
from app.queue.policy.feasibility import could_ever_run, largest_for
from app.store import plans, queue
from s2a_core.sizes import format_bytes


def require_place(session: Session, job: Job) -> None:
    """Raises NoDeviceFits when no known device would hold the job even if it were empty.

    A device in quarantine counts, one that is gone does not. Without any known device nothing can be said: the
    scheduler has not looked yet, and the job waits.
    """
    rows = _known(session)
    if not rows:
        return
    wanted, devices = waiting_of(job, 0.0, default_kind(rows)), Ledger(Rules()).devices(rows)
    if could_ever_run(wanted, devices):
        return
    largest = largest_for(wanted, devices)
    needs = format_bytes(min(wanted.limit_bytes, wanted.peak_bytes))
    if largest == 0:
        raise _no_device_is(wanted.kind, rows)
    advice, nearest = _nearest(session, job, largest)
    raise NoDeviceFits(
        f"needs {needs} on one device, and the largest that it may use has {format_bytes(largest)}; {advice}",
        details={
            "needs_bytes": min(wanted.limit_bytes, wanted.peak_bytes),
            "largest_bytes": largest,
            "devices": _shown(rows),
            **nearest,
        },
    )


def require_kind(session: Session, kind: str | None) -> None:
    """Raises NoDeviceFits when devices are known and none is of that kind; None is any."""
    rows = _known(session)
    if kind is not None and rows and all(row.kind != kind for row in rows):
        raise _no_device_is(kind, rows)


def _known(session: Session) -> list[Device]:
    return [device for device in queue.devices(session) if device.state != DeviceState.GONE]


def _no_device_is(kind: str | None, rows: list[Device]) -> NoDeviceFits:
    kinds = ", ".join(sorted({row.kind for row in rows}))
    return NoDeviceFits(f"no device is {kind!r}; there are: {kinds}", details={"devices": _shown(rows)})


def _shown(rows: list[Device]) -> list[dict[str, Any]]:
    return [
        {"name": f"{row.worker}/{row.name}", "kind": row.kind, "capacity_bytes": row.capacity_bytes - row.reserve_bytes}
        for row in rows
    ]


def _nearest(session: Session, job: Job, largest: int) -> tuple[str, dict[str, Any]]:
    """(advice, details): the largest planned budget that a device holds, by what the team's plans know of the model."""
    known = plans.find(session, job.plan_id, None) if job.plan_id else None
    known = known or plans.newest_of(session, job.team_id, str(job.request.get("model")))
    rows = (known.document or {}).get("alternatives", []) if known else []
    own = (known.document or {}).get("plan") if known else None
    if own is not None:
        rows = [*rows, {"budget_bytes": own["budget_bytes"], "peak_bytes": own["predicted"]["peak_bytes"]}]
    fitting = [row for row in rows if row["budget_bytes"] <= largest]
    if fitting:
        best = max(fitting, key=lambda row: row["budget_bytes"])
        return (
            f"the nearest budget with a known plan is {format_bytes(best['budget_bytes'])}",
            {"nearest_budget_bytes": best["budget_bytes"], "nearest_plan": best},
        )
    if rows:
        smallest = min(row["budget_bytes"] for row in rows)
        return (
            f"the smallest budget known to fit it is {format_bytes(smallest)}, which no device has",
            {"nearest_budget_bytes": None, "min_feasible_budget_bytes": smallest},
        )
    return (
        f"ask POST /v1/plans what a budget of {format_bytes(largest)} would give",
        {"nearest_budget_bytes": largest},
    )
