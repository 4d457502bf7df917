"""Statements about teams, their weights and quotas."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Team
from app.store.pages import by_id


def find(session: Session, team_id: str) -> Team | None:
    """A team by its id."""
    return session.get(Team, team_id)


def named(session: Session, name: str) -> Team | None:
    """A team by its name."""
    return session.scalar(select(Team).where(Team.name == name))


def add(session: Session, team: Team) -> Team:
    """Store a team; its id is set."""
    session.add(team)
    session.flush()
    return team


def listed(session: Session, team_id: str | None, limit: int, after: str | None) -> tuple[list[Team], str | None]:
    """(teams by id, only that one if it is given; the cursor of the next page)."""
    wanted = select(Team)
    if team_id is not None:
        wanted = wanted.where(Team.id == team_id)
    return by_id(session, Team, wanted, limit, after)
