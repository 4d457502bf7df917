"""What waits for another's transaction does so for a while, and is then told why; on both kinds of database."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError

from app.models import Job, Team
from app.store import database as databases
from app.store import jobs, owned
from app.store.database import Database
from app.store.refusals import BUSY, refusal_of


def test_a_row_that_another_holds_for_long_is_busy(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "LOCK_TIMEOUT_S", 1)
    database = Database(database_url)
    database.migrate()
    with database.transaction() as session:
        owned.add(session, Team(id="team_1", name="a"))
        owned.add(session, Job(id="job_1", team_id="team_1", request={"model": "m"}, budget_bytes=1))

    def look() -> None:
        with database.transaction() as session:
            jobs.find(session, "job_1")

    with database.transaction() as session:
        jobs.find(session, "job_1")
        with pytest.raises(DBAPIError) as refused:
            look()
    assert refusal_of(refused.value) == BUSY
    database.close()


def test_words_are_found_whatever_their_case(filled: Database) -> None:
    """On PostgreSQL as well, where its locale knows the letters."""
    with filled.transaction() as session:
        owned.add(session, Job(team_id="team_1", name="Äpfel", request={"model": "m"}, budget_bytes=1))
        assert [job.name for job in jobs.listed(session, None, None, 9, None, "äPFEL m")[0]] == ["Äpfel"]
