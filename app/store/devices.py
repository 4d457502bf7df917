"""Statements about devices and what is reserved on them, for who looks at the queue."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Attempt, Device, Job, JobStatus
from app.store.pages import by_id


def listed(session: Session, limit: int, after: str | None) -> tuple[list[Device], str | None]:
    """(devices by id; the cursor of the next page)."""
    return by_id(session, Device, select(Device), limit, after)


def find(session: Session, device_id: str) -> Device | None:
    """A device by its id."""
    return session.get(Device, device_id)


def live(session: Session, device_ids: list[str]) -> list[tuple[Attempt, Job]]:
    """Attempts that hold memory on these devices, or on none that is known, with their jobs."""
    wanted = (
        select(Attempt, Job)
        .join(Job, Job.id == Attempt.job_id)
        .where(Attempt.is_live, Attempt.device_id.in_(device_ids) | Attempt.device_id.is_(None))
        .order_by(Attempt.started_at)
    )
    return [(row[0], row[1]) for row in session.execute(wanted)]


def queue(session: Session, limit: int) -> list[Job]:
    """Waiting jobs in the order in which they are expected to start."""
    is_unplaced = Job.position.is_(None)
    order = (is_unplaced, Job.position, Job.priority.desc(), Job.created_at, Job.id)
    return list(session.scalars(select(Job).where(Job.status == JobStatus.QUEUED).order_by(*order).limit(limit)))


def statuses(session: Session, team_id: str | None) -> dict[str, int]:
    """How many jobs have each status, of that team if one is given."""
    wanted = select(Job.status, func.count()).group_by(Job.status)
    rows = session.execute(wanted if team_id is None else wanted.where(Job.team_id == team_id))
    return {row[0]: int(row[1]) for row in rows}
