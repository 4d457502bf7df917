"""The audit log, for admins."""

from __future__ import annotations

from typing import Any

from app.models import AuditEntry
from app.services.keys import Caller, require_admin
from app.store import audit
from app.store.database import Database


def document(entry: AuditEntry) -> dict[str, Any]:
    """A line as the API shows it."""
    return {
        "id": entry.id,
        "team_id": entry.team_id,
        "key_id": entry.key_id,
        "action": entry.action,
        "object_id": entry.object_id,
        "details": entry.details or {},
        "at": entry.at,
    }


class AuditService:
    """Reads the log; what changes something writes its line itself, in the same transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def listed(self, caller: Caller, action: str | None, limit: int, after: str | None) -> dict[str, Any]:
        """A page of lines, newest first; admins only."""
        require_admin(caller)
        with self.database.reading() as session:
            rows, following = audit.listed(session, action, limit, after)
            return {"items": [document(entry) for entry in rows], "next": following}
