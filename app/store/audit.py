"""Statements about the audit log: who changed what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import AuditEntry
from app.store.pages import latest_first


def record(
    session: Session,
    team_id: str,
    key_id: str | None,
    action: str,
    object_id: str | None,
    details: dict[str, Any] | None = None,
) -> None:
    """One line, in the transaction of the change itself."""
    session.add(AuditEntry(team_id=team_id, key_id=key_id, action=action, object_id=object_id, details=details))


def listed(session: Session, action: str | None, limit: int, after: str | None) -> tuple[list[AuditEntry], str | None]:
    """(lines of every team, newest first; the cursor of the next page)."""
    wanted = select(AuditEntry)
    if action is not None:
        wanted = wanted.where(AuditEntry.action == action)
    return latest_first(session, AuditEntry, wanted, limit, after)
