"""Statements about teams and API keys."""

from __future__ import annotations

import time

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.models import ApiKey, Team
from app.store import owned
from app.store.pages import newest_first
from app.store.unique import add_unique


def count(session: Session) -> int:
    """Keys that exist, revoked or not."""
    return session.scalar(select(func.count()).select_from(ApiKey)) or 0


def team(session: Session, name: str) -> Team:
    """The team of that name, made if there is none."""
    wanted = select(Team).where(Team.name == name)
    row = session.scalar(wanted)
    if row is None:
        add_unique(session, Team(name=name))
        row = session.scalars(wanted).one()
    return row


def add(
    session: Session,
    team_id: str,
    scopes: list[str],
    secret_hash: str,
    name: str = "",
    expires_at: float | None = None,
) -> ApiKey:
    """A key; its id is set."""
    return owned.add(
        session, ApiKey(team_id=team_id, scopes=scopes, secret_hash=secret_hash, name=name, expires_at=expires_at)
    )


def find(session: Session, key_id: str) -> ApiKey | None:
    """A key that has not been revoked."""
    return session.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)))


def listed(
    session: Session, team_id: str | None, limit: int, after: str | None
) -> tuple[list[tuple[ApiKey, str]], str | None]:
    """(keys with their teams' names, newest first; the cursor of the next page)."""
    rows, following = newest_first(session, ApiKey, owned.of_team(ApiKey, team_id), limit, after)
    teams = select(Team.id, Team.name).where(Team.id.in_({key.team_id for key in rows}))
    names = {row[0]: row[1] for row in session.execute(teams)}
    return [(key, names[key.team_id]) for key in rows], following


def used(session: Session, key_id: str, at: float) -> None:
    """Remember when a key was last used."""
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=at))


def valid_admins(session: Session, now: float) -> list[str]:
    """Ids of admins' keys that are neither revoked nor expired; nobody revokes one until this transaction ends."""
    is_valid = (ApiKey.revoked_at.is_(None), ApiKey.expires_at.is_(None) | (ApiKey.expires_at > now))
    rows = session.scalars(select(ApiKey).where(*is_valid).order_by(ApiKey.id).with_for_update())
    return [key.id for key in rows if "admin" in key.scopes]


def revoke(session: Session, key: ApiKey) -> None:
    """Make a key useless."""
    key.revoked_at = time.time()


def team_name(session: Session, team_id: str) -> str:
    """The name of a team that exists."""
    return str(session.scalar(select(Team.name).where(Team.id == team_id)))
