"""Statements about requests that carry an Idempotency-Key."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.models import IdempotencyKey


def find(session: Session, team_id: str, key: str) -> IdempotencyKey | None:
    """What is known of a key."""
    return session.get(IdempotencyKey, (team_id, key), with_for_update=True)


def begin(session: Session, team_id: str, key: str, body_hash: str) -> None:
    """Remember that a request is being served."""
    session.merge(
        IdempotencyKey(team_id=team_id, key=key, body_hash=body_hash, status=0, response=None, created_at=time.time())
    )
    session.flush()


def finish(session: Session, team_id: str, key: str, status: int, response: dict[str, Any]) -> None:
    """Remember the answer."""
    found = session.get(IdempotencyKey, (team_id, key))
    if found is not None:
        found.status, found.response = status, response


def forget(session: Session, team_id: str, key: str) -> None:
    """A request that failed may be sent again."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.team_id == team_id, IdempotencyKey.key == key))


def expire(session: Session, before: float) -> None:
    """Forget what is older than a time."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < before))
