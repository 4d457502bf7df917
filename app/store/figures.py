"""Statements behind the Prometheus metrics: counts, times and bytes over all teams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.models import Attempt, Device, Job, JobStatus, Plan, PredictionPair
from app.models.tables import ENDED


def job_counts(session: Session) -> dict[str, int]:
    """Jobs by status."""
    rows = session.execute(select(Job.status, func.count()).group_by(Job.status))
    return {row[0]: int(row[1]) for row in rows}


def queue_depth(session: Session) -> dict[str, int]:
    """Waiting jobs by the code of their reason."""
    code = Job.reason["code"].as_string()
    rows = session.execute(select(code, func.count()).where(Job.status == JobStatus.QUEUED).group_by(code))
    return {row[0] or "waiting": int(row[1]) for row in rows}


def wait_seconds(session: Session, bounds: Sequence[float]) -> tuple[list[int], float]:
    """(started jobs that waited at most each bound and all of them, sum): from submission to the first start."""
    return _histogram(session, Job.started_at - Job.created_at, [Job.started_at.is_not(None)], bounds)


def run_seconds(session: Session, bounds: Sequence[float]) -> tuple[list[int], float]:
    """The same from the first start to the end, of jobs that have ended."""
    is_over = [Job.status.in_(ENDED), Job.started_at.is_not(None), Job.ended_at.is_not(None)]
    return _histogram(session, Job.ended_at - Job.started_at, is_over, bounds)


def plan_seconds(session: Session, bounds: Sequence[float]) -> tuple[list[int], float]:
    """The same from the request of a plan to its end."""
    return _histogram(session, Plan.ended_at - Plan.created_at, [Plan.ended_at.is_not(None)], bounds)


def prediction_error(session: Session, bounds: Sequence[float]) -> tuple[list[int], float]:
    """The same of (measured - predicted) / predicted over all pairs."""
    predicted = PredictionPair.predicted_bytes * 1.0
    error = (PredictionPair.measured_bytes - predicted) / predicted
    return _histogram(session, error, [PredictionPair.predicted_bytes > 0], bounds)


def _histogram(session: Session, value: Any, filters: list[Any], bounds: Sequence[float]) -> tuple[list[int], float]:
    counts = [func.sum(case((value <= bound, 1), else_=0)) for bound in bounds]
    row = session.execute(select(func.count(), func.sum(value), *counts).where(*filters)).one()
    return [*(int(count or 0) for count in row[2:]), int(row[0])], float(row[1] or 0.0)


def devices(session: Session) -> list[tuple[Device, int]]:
    """Devices with the bytes that live attempts reserve on them."""
    held = (
        select(Attempt.device_id, func.sum(Attempt.reserved_bytes).label("held"))
        .where(Attempt.is_live)
        .group_by(Attempt.device_id)
        .subquery()
    )
    wanted = select(Device, held.c.held).outerjoin(held, held.c.device_id == Device.id).order_by(Device.id)
    return [(row[0], int(row[1] or 0)) for row in session.execute(wanted)]
