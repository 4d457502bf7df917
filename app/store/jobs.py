"""Statements about jobs, their events and artifacts."""

from __future__ import annotations

from functools import reduce
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Artifact, Event, Job
from app.store import owned, webhooks
from app.store.owned import add as add
from app.store.pages import newest_first


def find(session: Session, job_id: str, team_id: str | None = None) -> Job | None:
    """A job, of that team if one is given. On PostgreSQL its row is locked until the transaction ends."""
    return owned.find(session, Job, job_id, team_id, is_locked=True)


def look(session: Session, job_id: str, team_id: str | None = None) -> Job | None:
    """The same without a lock, for who only reads."""
    return owned.find(session, Job, job_id, team_id)


def listed(
    session: Session, team_id: str | None, status: str | None, limit: int, after: str | None, words: str = ""
) -> tuple[list[Job], str | None]:
    """(jobs, newest first; the cursor of the next page). words: each in its name, id, model, adapter or data."""
    request = [func.coalesce(Job.request[name].as_string(), "") for name in ("model", "adapter", "data", "dataset")]
    text = reduce(lambda left, right: left + " " + right, [Job.name, Job.id, *request])
    wanted = owned.of_team(Job, team_id).where(*(text.icontains(word, autoescape=True) for word in words.split()))
    if status is not None:
        wanted = wanted.where(Job.status == status)
    return newest_first(session, Job, wanted, limit, after)


def last_seq(session: Session, job_id: str) -> int:
    """The number of the newest event, 0 without one."""
    return session.scalar(select(func.max(Event.seq)).where(Event.job_id == job_id)) or 0


def newest_event(session: Session) -> int:
    """The id of the newest event of any job, 0 without one."""
    return session.scalar(select(func.max(Event.id))) or 0


def add_event(session: Session, job: Job, kind: str, payload: dict[str, Any]) -> None:
    """Append an event to a job, and owe it to the webhooks that want it."""
    seq = last_seq(session, job.id) + 1
    event = Event(job_id=job.id, seq=seq, epoch=job.current_epoch, type=kind, payload=payload)
    session.add(event)
    session.flush()
    if kind in webhooks.EVENT_TYPES:
        webhooks.owe(session, job.team_id, kind, event.id)


def events(session: Session, job_id: str, after: int, limit: int = 500) -> list[Event]:
    """Events whose seq is above `after`."""
    return list(
        session.scalars(select(Event).where(Event.job_id == job_id, Event.seq > after).order_by(Event.seq).limit(limit))
    )


def newest_events(session: Session, job_id: str, besides: str, limit: int) -> list[Event]:
    """The newest events but for those of a type, the newest first."""
    wanted = select(Event).where(Event.job_id == job_id, Event.type != besides)
    return list(session.scalars(wanted.order_by(Event.seq.desc()).limit(limit)))


def artifacts(session: Session, job_id: str) -> list[Artifact]:
    """Files of a job, by name."""
    return list(session.scalars(select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.name)))


def artifact(session: Session, job_id: str, name: str) -> Artifact | None:
    """One file of a job."""
    return session.scalar(select(Artifact).where(Artifact.job_id == job_id, Artifact.name == name))


def put_artifact(session: Session, job_id: str, name: str, num_bytes: int, sha256: str) -> None:
    """Remember a file; a later one of the same name replaces it."""
    row = artifact(session, job_id, name)
    if row is None:
        session.add(Artifact(job_id=job_id, name=name, num_bytes=num_bytes, sha256=sha256))
    else:
        row.num_bytes, row.sha256 = num_bytes, sha256


def last_event(session: Session, job_id: str, kind: str) -> Event | None:
    """The newest event of a type."""
    wanted = select(Event).where(Event.job_id == job_id, Event.type == kind).order_by(Event.seq.desc()).limit(1)
    return session.scalar(wanted)


def events_of(session: Session, job_id: str, kind: str) -> list[Event]:
    """Every event of a type."""
    return list(session.scalars(select(Event).where(Event.job_id == job_id, Event.type == kind).order_by(Event.seq)))
