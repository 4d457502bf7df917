"""Statements about how good predictions were."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Job, PredictionPair
from app.store.pages import latest_first


def add(session: Session, pair: PredictionPair) -> None:
    """Keep a predicted and a measured peak."""
    session.add(pair)


def listed(
    session: Session, team_id: str | None, device: str | None, model: str | None, limit: int, after: str | None = None
) -> tuple[list[PredictionPair], str | None]:
    """(pairs of a team's jobs, of everybody's if None, newest first; the cursor of the next page)."""
    wanted = select(PredictionPair)
    if team_id is not None:
        wanted = wanted.where(PredictionPair.source.in_(select(Job.id).where(Job.team_id == team_id)))
    if device is not None:
        wanted = wanted.where(PredictionPair.device == device)
    if model is not None:
        wanted = wanted.where(PredictionPair.model == model)
    return latest_first(session, PredictionPair, wanted, limit, after)
