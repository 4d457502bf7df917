"""Statements about attempts: who runs a job, with which token and lease, and what memory is reserved."""

from __future__ import annotations

import time
from typing import Any, cast

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.models import Attempt, AttemptState, Checkpoint, Device, Event, Job, Metric
from app.models.tables import JobStatus
from app.store import jobs, owned
from app.store.series import points_of


def claim(
    session: Session,
    job: Job,
    token_hash: str,
    *,
    reserved_bytes: int | None = None,
    device_id: str | None = None,
    lease_s: float = 60.0,
) -> Attempt:
    """Reserve memory for a queued job and make it running; the caller launches the process after the commit.

    The attempt's epoch is the job's next.
    """
    job.current_epoch += 1
    reserved = reserved_bytes if reserved_bytes is not None else job.planned_peak_bytes or job.budget_bytes
    attempt = Attempt(
        job_id=job.id,
        epoch=job.current_epoch,
        token_hash=token_hash,
        reserved_bytes=reserved,
        device_id=device_id,
        lease_expires_at=time.time() + lease_s,
    )
    owned.add(session, attempt)
    job.status, job.reason = JobStatus.RUNNING, None
    job.position = job.eta_at = None
    job.started_at = job.started_at or time.time()
    jobs.add_event(session, job, "started", {"attempt": attempt.epoch})
    return attempt


def find(session: Session, attempt_id: str) -> Attempt | None:
    """An attempt by its id, as the database has it."""
    return session.get(Attempt, attempt_id, populate_existing=True)


def live(session: Session, device_id: str | None = None) -> list[tuple[Attempt, Job]]:
    """Attempts that hold memory, of one device if one is given, oldest first, with their jobs."""
    wanted = select(Attempt, Job).join(Job, Job.id == Attempt.job_id).where(Attempt.is_live)
    if device_id is not None:
        wanted = wanted.where(Attempt.device_id == device_id)
    return [(attempt, job) for attempt, job in session.execute(wanted.order_by(Attempt.started_at, Attempt.id))]


def renew(attempt: Attempt, lease_s: float, now: float) -> None:
    """The process was heard of."""
    attempt.heartbeat_at, attempt.lease_expires_at = now, now + lease_s
    if attempt.state == AttemptState.STARTING:
        attempt.state = AttemptState.RUNNING


def may_write(attempt: Attempt) -> bool:
    """Whether its process may still speak for the job."""
    return attempt.is_live and attempt.state in (AttemptState.STARTING, AttemptState.RUNNING)


def silence(attempt: Attempt, state: AttemptState, reason: str) -> None:
    """Its process may not write any more; its memory stays reserved until the process is proven gone."""
    attempt.state, attempt.reason = state, reason
    attempt.ended_at = attempt.ended_at or time.time()


def end(attempt: Attempt, reason: str) -> None:
    """Free an attempt's memory: its process is gone."""
    attempt.state, attempt.is_live = AttemptState.ENDED, False
    attempt.ended_at, attempt.reason = attempt.ended_at or time.time(), attempt.reason or reason


def note_stop(session: Session, now: float) -> None:
    """Write into every live attempt that the service which looks after it stops in order."""
    for seen, job in live(session):
        jobs.find(session, job.id)  # locks it: the process may be sending events, which are counted in the handle
        attempt = find(session, seen.id)
        if attempt is not None and may_write(attempt):
            attempt.handle = {**(attempt.handle or {}), "service_stopped_at": now}


def furthest_resume(session: Session, job_id: str) -> int:
    """The latest step that any attempt of a job went on from, 0 without one."""
    wanted = select(func.max(Attempt.resumed_from_step)).where(Attempt.job_id == job_id)
    return session.scalar(wanted) or 0


def shrink(attempt: Attempt, job: Job, num_bytes: int, now: float) -> None:
    """Give back what its verified plan does not need. Never grows: the difference may be another job's by then."""
    freed = attempt.reserved_bytes - max(1, num_bytes)
    if freed > 0:
        job.byte_seconds += int(freed * max(0.0, now - attempt.started_at))  # held until now; the rest is counted later
        attempt.reserved_bytes -= freed


def device(session: Session, device_id: str | None) -> Device | None:
    """The device an attempt runs on."""
    return session.get(Device, device_id) if device_id else None


def add_events(session: Session, job: Job, epoch: int, batch: list[dict[str, Any]]) -> None:
    """Append what an attempt said, with its own times."""
    seq = jobs.last_seq(session, job.id)
    for number, event in enumerate(batch, seq + 1):
        at = float(event.get("at") or time.time())
        kind, payload = event["type"], event["payload"]
        session.add(Event(job_id=job.id, seq=number, epoch=epoch, type=kind, payload=payload, at=at))
    session.flush()


def put_metrics(session: Session, job_id: str, batch: list[dict[str, Any]]) -> None:
    """The numbers of steps and epochs as points; a step that is run again replaces its values."""
    points: dict[tuple[str, int], dict[str, Any]] = {}
    for event in batch:
        at = float(event.get("at") or time.time())
        for name, step, value in points_of(event["type"], event["payload"]):
            points[name, step] = {"job_id": job_id, "name": name, "step": step, "value": value, "at": at}
    if not points:
        return
    make = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    insert = cast(Any, make(Metric))
    new = {"value": insert.excluded.value, "at": insert.excluded.at}
    upsert = insert.on_conflict_do_update(index_elements=["job_id", "name", "step"], set_=new)
    session.execute(upsert, [*points.values()])


def add_checkpoint(session: Session, attempt: Attempt, payload: dict[str, Any]) -> None:
    """Remember a state the job can go on from."""
    session.add(
        Checkpoint(
            job_id=attempt.job_id,
            attempt_epoch=attempt.epoch,
            step=int(payload["step"]),
            path=str(payload["path"]),
            num_bytes=int(payload["num_bytes"]),
            sha256=str(payload["sha256"]),
        )
    )


def verdicts(session: Session, job_id: str, fault: str) -> list[dict[str, Any]]:
    """What earlier attempts of a job that ended by such a fault were judged to be, oldest first."""
    wanted = select(Attempt.verdict).where(Attempt.job_id == job_id, Attempt.verdict.is_not(None))
    return [v for v in session.scalars(wanted.order_by(Attempt.epoch)) if v and v.get("fault") == fault]
