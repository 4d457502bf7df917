"""Statements about attempts: who runs a job, with which token, and what memory is reserved."""

from __future__ import annotations

import time

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Attempt, Job


def start(session: Session, job: Job, token_hash: str) -> Attempt:
    """A new attempt of a job; its epoch is the job's next."""
    job.current_epoch += 1
    attempt = Attempt(
        job_id=job.id, epoch=job.current_epoch, token_hash=token_hash, reserved_bytes=job.budget_bytes, is_live=True
    )
    session.add(attempt)
    session.flush()
    return attempt


def find(session: Session, attempt_id: str) -> Attempt | None:
    """An attempt by its id."""
    return session.get(Attempt, attempt_id)


def current(session: Session, job: Job) -> Attempt | None:
    """The attempt of a job's current epoch."""
    return session.scalar(select(Attempt).where(Attempt.job_id == job.id, Attempt.epoch == job.current_epoch))


def reserved_bytes(session: Session) -> int:
    """Memory that live attempts hold."""
    return int(session.scalar(select(func.sum(Attempt.reserved_bytes)).where(Attempt.is_live)) or 0)


def end(attempt: Attempt, reason: str) -> None:
    """Free an attempt's memory."""
    attempt.is_live, attempt.ended_at, attempt.reason = False, time.time(), reason
