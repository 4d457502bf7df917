"""Statements about teams, their weights and quotas."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Team
from app.store.pages import by_id
from app.store.unique import add_unique


def find(session: Session, team_id: str) -> Team | None:
    """A team by its id."""
    return session.get(Team, team_id)


def add(session: Session, team: Team) -> bool:
    """Store a team; its id is set. False when its name is taken."""
    return add_unique(session, team)


def listed(session: Session, team_id: str | None, limit: int, after: str | None) -> tuple[list[Team], str | None]:
    """(teams by id, only that one if it is given; the cursor of the next page)."""
    wanted = select(Team)
    if team_id is not None:
        wanted = wanted.where(Team.id == team_id)
    return by_id(session, Team, wanted, limit, after)
