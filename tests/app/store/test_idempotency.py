"""Answers are remembered until they are too old."""

from __future__ import annotations

import time

from app.store import idempotency
from app.store.database import Database


def test_begin_finish_expire(filled: Database) -> None:
    with filled.transaction() as session:
        idempotency.begin(session, "team_1", "k", "hash")
        found = idempotency.find(session, "team_1", "k")
        assert found is not None
        assert found.response is None
        idempotency.finish(session, "team_1", "k", 201, {"id": "x"})
        assert (found.status, found.response) == (201, {"id": "x"})
        idempotency.expire(session, time.time() + 1)
        session.expire_all()
        assert idempotency.find(session, "team_1", "k") is None
