"""Pages hold every row once, also rows of one moment."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.models import Plan
from app.store.cursors import BadCursor
from app.store.database import Database
from app.store.pages import by_id, newest_first


def test_rows_of_one_moment_are_told_apart_by_their_id(filled: Database) -> None:
    with filled.transaction() as session:
        for number in range(7):
            session.add(Plan(id=f"plan_{number}", team_id="team_1", request={}, created_at=1.5))
    with filled.reading() as session:
        seen, after = [], None
        while True:
            rows, after = newest_first(session, Plan, select(Plan), 3, after)
            seen += [plan.id for plan in rows]
            if after is None:
                break
        assert seen == [f"plan_{number}" for number in reversed(range(7))]
        rows, after = by_id(session, Plan, select(Plan), 4, None)
        assert [plan.id for plan in rows + by_id(session, Plan, select(Plan), 4, after)[0]] == seen[::-1]
        with pytest.raises(BadCursor):
            newest_first(session, Plan, select(Plan), 3, after)
