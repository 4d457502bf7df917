"""Statements about requests that carry an Idempotency-Key."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.models import IdempotencyKey
from app.store.unique import add_unique


def find(session: Session, team_id: str, key: str) -> IdempotencyKey | None:
    """What is known of a key."""
    return session.get(IdempotencyKey, (team_id, key), with_for_update=True)


def begin(session: Session, team_id: str, key: str, body_hash: str) -> bool:
    """Remember that a request is being served; False when the key is known."""
    return add_unique(session, IdempotencyKey(team_id=team_id, key=key, body_hash=body_hash))


def begin_again(row: IdempotencyKey, body_hash: str) -> None:
    """The same for a key whose request is forgotten or was abandoned."""
    row.body_hash, row.status, row.response, row.created_at = body_hash, 0, None, time.time()


def finish(session: Session, team_id: str, key: str, status: int, response: dict[str, Any]) -> None:
    """Remember the answer."""
    row = session.get(IdempotencyKey, (team_id, key))
    if row is not None:
        row.status, row.response = status, response


def expire(session: Session, before: float) -> None:
    """Forget what is older than a time."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < before))
