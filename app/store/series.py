"""Statements about what attempts leave behind: metrics by step, checkpoints, and the list of attempts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from app.models import Attempt, Checkpoint, Metric

# Events whose numbers are series: (type, field that counts, name of the series).
COUNTED = {"step": "step", "epoch": "epoch"}
NOT_VALUES = frozenset({"step", "total_steps", "epoch", "epochs", "seq", "at"})


def points_of(kind: str, payload: Mapping[str, Any]) -> Iterator[tuple[str, int, float]]:
    """(series, step, value) for each number of a step's or an epoch's event; the series are `<kind>.<field>`."""
    counter = COUNTED.get(kind)
    step = payload.get(counter) if counter else None
    if not isinstance(step, int) or isinstance(step, bool):
        return
    for name, value in payload.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and name not in NOT_VALUES and math.isfinite(value):
            yield f"{kind}.{name}", step, float(value)


def metrics(session: Session, job_id: str, name: str | None, after_step: int, limit: int) -> list[Metric]:
    """At most `limit` points above a step, ordered by step and name.

    Series share the limit evenly; one that is longer than its share is thinned evenly, back from its newest point.
    """
    asked = [Metric.job_id == job_id, Metric.step > after_step]
    if name is not None:
        asked.append(Metric.name == name)
    lengths = session.execute(select(Metric.name, func.count()).where(*asked).group_by(Metric.name)).all()
    share = max(1, limit // max(1, len(lengths)))
    age = func.row_number().over(order_by=Metric.step.desc()) - 1
    metrics_by_step: list[Metric] = []
    for series, length in lengths:
        aged = select(Metric, age.label("age")).where(*asked, Metric.name == series).subquery()
        every = math.ceil(length / share)
        metrics_by_step += session.scalars(select(aliased(Metric, aged)).where(aged.c.age % every == 0))
    return sorted(metrics_by_step, key=lambda point: (point.step, point.name))[-limit:]


def checkpoints(session: Session, job_id: str) -> list[Checkpoint]:
    """Checkpoints of a job, the newest first."""
    order = (Checkpoint.step.desc(), Checkpoint.created_at.desc(), Checkpoint.id)
    return list(session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(*order)))


def attempts(session: Session, job_id: str) -> list[Attempt]:
    """Attempts of a job, the newest first."""
    return list(session.scalars(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.epoch.desc())))
