"""Statements about teams and API keys."""

from __future__ import annotations

import time

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import ApiKey, Team


def count(session: Session) -> int:
    """Keys that exist, revoked or not."""
    return session.scalar(select(func.count()).select_from(ApiKey)) or 0


def team(session: Session, name: str) -> Team:
    """The team of that name, made if there is none."""
    found = session.scalar(select(Team).where(Team.name == name))
    if found is None:
        found = Team(name=name)
        session.add(found)
        session.flush()
    return found


def add(session: Session, team_id: str, scopes: list[str], secret_hash: str) -> ApiKey:
    """A key; its id is set."""
    key = ApiKey(team_id=team_id, scopes=scopes, secret_hash=secret_hash)
    session.add(key)
    session.flush()
    return key


def find(session: Session, key_id: str) -> ApiKey | None:
    """A key that has not been revoked."""
    return session.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)))


def listed(session: Session) -> list[tuple[ApiKey, str]]:
    """Every key with its team's name."""
    rows = session.execute(select(ApiKey, Team.name).join(Team, Team.id == ApiKey.team_id).order_by(ApiKey.created_at))
    return [(key, name) for key, name in rows]


def revoke(session: Session, key_id: str) -> bool:
    """Make a key useless; False when there is none."""
    key = find(session, key_id)
    if key is None:
        return False
    key.revoked_at = time.time()
    return True
