"""API keys: `s2a_<id>_<secret>`, of which only the SHA-256 of the secret is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from app.errors import NotAllowed, NotAuthorized, NotFound
from app.store import keys
from app.store.database import Database


@dataclass(frozen=True)
class Caller:
    """Who asks. team_id: whose things are seen; an admin sees all. scopes: of read, write, admin; admin has all."""

    team_id: str
    scopes: frozenset[str]
    key_id: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether the key may do everything, for every team."""
        return "admin" in self.scopes

    @property
    def visible_team(self) -> str | None:
        """The team to filter by, None for an admin."""
        return None if self.is_admin else self.team_id


def digest(secret: str) -> str:
    """SHA-256 in hex: enough for secrets of 192 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


class KeyService:
    """Makes, checks and revokes keys."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, team: str, *scopes: str) -> str:
        """A new key; its text is shown once and cannot be had again."""
        secret = secrets.token_hex(24)
        with self.database.transaction() as session:
            key = keys.add(session, keys.team(session, team).id, list(scopes), digest(secret))
            return f"s2a_{key.id}_{secret}"

    def ping(self) -> None:
        """Raise when the database does not answer."""
        with self.database.transaction() as session:
            keys.count(session)

    def bootstrap(self) -> str | None:
        """A first admin key when there is none at all."""
        with self.database.transaction() as session:
            if keys.count(session):
                return None
        return self.create("admin", "admin")

    def authenticate(self, text: str | None) -> Caller:
        """Who holds this key; NotAuthorized for none, a malformed, a wrong or a revoked one."""
        parts = (text or "").split("_")
        if len(parts) != 3 or parts[0] != "s2a":
            raise NotAuthorized("send your key as `Authorization: Bearer s2a_...`")
        with self.database.transaction() as session:
            key = keys.find(session, parts[1])
            if key is None or not hmac.compare_digest(key.secret_hash, digest(parts[2])):
                raise NotAuthorized("this key is not known, or was revoked")
            return Caller(key.team_id, frozenset(key.scopes), key.id)

    def listed(self, caller: Caller) -> list[dict[str, Any]]:
        """Every key, without its secret; admins only."""
        require_admin(caller)
        with self.database.transaction() as session:
            return [
                {"id": k.id, "team": team, "scopes": k.scopes, "created_at": k.created_at, "revoked_at": k.revoked_at}
                for k, team in keys.listed(session)
            ]

    def revoke(self, caller: Caller, key_id: str) -> None:
        """Make a key useless; admins only."""
        require_admin(caller)
        with self.database.transaction() as session:
            if not keys.revoke(session, key_id):
                raise NotFound(f"no key {key_id}")


def require_admin(caller: Caller) -> None:
    """NotAllowed for anybody else."""
    if not caller.is_admin:
        raise NotAllowed("this needs a key of scope admin")
