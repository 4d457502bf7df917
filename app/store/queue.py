"""Statements of the scheduler: devices, live reservations, what teams used, waiting jobs, and why they wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, exists, func, select, update
from sqlalchemy.orm import Session

from app.models import Attempt, Device, Event, Job, JobStatus, Team


@dataclass(frozen=True)
class Waited:
    """What the database keeps of a waiting job's place in the queue."""

    job_id: str
    reason: dict[str, Any]
    position: int | None
    eta_at: float | None


def devices(session: Session) -> list[Device]:
    """Every device ever seen, by worker and name."""
    return list(session.scalars(select(Device).order_by(Device.worker, Device.name)))


def teams(session: Session) -> list[Team]:
    """Every team."""
    return list(session.scalars(select(Team)))


def used_since(session: Session, since: float) -> list[tuple[str, int, float, float]]:
    """(team, bytes, start, end) of every reservation that was given back after `since`."""
    rows = session.execute(
        select(Job.team_id, Attempt.reserved_bytes, Attempt.started_at, Attempt.ended_at)
        .join(Job, Job.id == Attempt.job_id)
        .where(Attempt.is_live.is_(False), Attempt.ended_at > since)
    )
    return [(row[0], row[1], row[2], row[3] or row[2]) for row in rows]


def run_times(session: Session, limit: int = 200) -> list[tuple[str, str, float, float]]:
    """(team, model, start, end) of the jobs that succeeded last."""
    rows = session.execute(
        select(Job.team_id, Job.request["model"].as_string(), Job.started_at, Job.ended_at)
        .where(Job.status == JobStatus.SUCCEEDED, Job.started_at.is_not(None))
        .order_by(Job.created_at.desc())
        .limit(limit)
    )
    return [(row[0], row[1], row[2], row[3] or row[2]) for row in rows]


def progress(session: Session, job_ids: Iterable[str]) -> dict[str, float]:
    """The part of its steps that each of these jobs has done, where it said so."""
    newest = (
        select(Event.job_id, func.max(Event.seq).label("seq"))
        .where(Event.job_id.in_(list(job_ids)), Event.type == "step")
        .group_by(Event.job_id)
        .subquery()
    )
    rows = session.execute(
        select(Event.job_id, Event.payload).join(
            newest, (newest.c.job_id == Event.job_id) & (newest.c.seq == Event.seq)
        )
    )
    parts: dict[str, float] = {}
    for job_id, payload in rows:
        done, total = payload.get("step"), payload.get("total_steps")
        if isinstance(done, int) and isinstance(total, int) and 0 < done <= total:
            parts[job_id] = done / total
    return parts


def waiting(session: Session) -> Sequence[Row[Any]]:
    """What the policy needs of every queued job, without loading or locking it."""
    columns = (
        Job.id,
        Job.team_id,
        Job.created_at,
        Job.priority,
        Job.budget_bytes,
        Job.planned_peak_bytes,
        Job.device,
        Job.request["model"].as_string().label("model"),
    )
    return session.execute(select(*columns).where(Job.status == JobStatus.QUEUED)).all()


def lock_queued(session: Session, job_id: str) -> Job | None:
    """A job, locked, if it is still queued and no attempt of it holds memory."""
    is_held = exists().where(Attempt.job_id == job_id, Attempt.is_live)
    wanted = select(Job).where(Job.id == job_id, Job.status == JobStatus.QUEUED, ~is_held).with_for_update()
    return session.scalar(wanted.execution_options(populate_existing=True))


def lock_running(session: Session, job_id: str) -> Job | None:
    """A job, locked, if it is running."""
    wanted = select(Job).where(Job.id == job_id, Job.status == JobStatus.RUNNING).with_for_update()
    return session.scalar(wanted.execution_options(populate_existing=True))


def explain(session: Session, explained: Sequence[Waited]) -> None:
    """Write why jobs wait, where they are still queued. A place in the queue is no change of the job's version."""
    if not explained:
        return
    statement = (
        update(Job)
        .where(Job.id == bindparam("job_id"), Job.status == JobStatus.QUEUED)
        .values(reason=bindparam("new_reason"), position=bindparam("new_position"), eta_at=bindparam("new_eta"))
    )
    rows = [
        {"job_id": w.job_id, "new_reason": w.reason, "new_position": w.position, "new_eta": w.eta_at} for w in explained
    ]
    session.connection().execute(statement, rows)
