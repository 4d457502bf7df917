"""Statements about sessions of the pages that were signed out."""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.models import EndedSession
from app.store.unique import add_unique


def end(session: Session, nonce: str, expires_at: float, now: float) -> None:
    """Remember a session's end until it would have expired; forget those that have."""
    session.execute(delete(EndedSession).where(EndedSession.expires_at <= now))
    add_unique(session, EndedSession(id=nonce, expires_at=expires_at))


def is_ended(session: Session, nonce: str) -> bool:
    """Whether a session was signed out."""
    return session.get(EndedSession, nonce) is not None
