"""Statements about how good predictions were."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import PredictionPair
from app.store.pages import latest_first


def add(session: Session, pair: PredictionPair) -> None:
    """Keep a predicted and a measured peak."""
    session.add(pair)


def pairs(session: Session, device: str | None, model: str | None, limit: int) -> list[PredictionPair]:
    """The newest pairs."""
    return listed(session, device, model, limit, None)[0]


def listed(
    session: Session, device: str | None, model: str | None, limit: int, after: str | None
) -> tuple[list[PredictionPair], str | None]:
    """(pairs, newest first; the cursor of the next page)."""
    wanted = select(PredictionPair)
    if device is not None:
        wanted = wanted.where(PredictionPair.device == device)
    if model is not None:
        wanted = wanted.where(PredictionPair.model == model)
    return latest_first(session, PredictionPair, wanted, limit, after)
