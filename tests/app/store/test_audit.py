"""Lines are listed newest first, by action."""

from __future__ import annotations

from app.store import audit
from app.store.database import Database


def test_lines(filled: Database) -> None:
    with filled.transaction() as session:
        for action in ("job.created", "job.cancelled"):
            audit.record(session, "team_1", "k", action, "job_1", {"a": 1})
            session.flush()
        assert [line.action for line in audit.listed(session, None, 9, None)[0]] == [
            "job.cancelled",
            "job.created",
        ]
        assert [line.action for line in audit.listed(session, "job.created", 9, None)[0]] == ["job.created"]
