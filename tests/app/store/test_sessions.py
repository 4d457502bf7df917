"""A session that was signed out stays so until it would have expired, and is then forgotten."""

from __future__ import annotations

from app.store import sessions
from app.store.database import Database


def test_an_end_is_kept_until_the_session_expires(filled: Database) -> None:
    with filled.transaction() as session:
        sessions.end(session, "a", expires_at=100.0, now=50.0)
        sessions.end(session, "a", expires_at=100.0, now=51.0)
        assert (sessions.is_ended(session, "a"), sessions.is_ended(session, "b")) == (True, False)
        sessions.end(session, "b", expires_at=200.0, now=101.0)
        assert (sessions.is_ended(session, "a"), sessions.is_ended(session, "b")) == (False, True)
