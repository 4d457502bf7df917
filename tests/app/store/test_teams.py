"""A team is found by its id; its name is its own."""

from __future__ import annotations

from app.models import Team
from app.store import teams
from app.store.database import Database


def test_teams(filled: Database) -> None:
    with filled.transaction() as session:
        made = Team(name="b")
        assert teams.add(session, made)
        assert teams.find(session, made.id) is made
        assert not teams.add(session, Team(name="b"))
        assert [team.id for team in teams.listed(session, "team_1", 9, None)[0]] == ["team_1"]
        assert len(teams.listed(session, None, 9, None)[0]) == 2
