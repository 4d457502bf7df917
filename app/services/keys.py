"""API keys: `s2a_<id>_<secret>`, of which only the SHA-256 of the secret is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from app.errors import NotAllowed, NotAuthorized, NotFound, WrongState
from app.models import ApiKey
from app.store import audit, keys
from app.store.database import Database
from app.store.refusals import refusal_of
from s2a_core.errors import InvalidInput

log = structlog.get_logger("s2a.keys")
SCOPES = ("read", "write", "admin")
USED_EVERY_S = 60.0  # how exact last_used_at is: a write per request would cost more than the request


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

    def may(self, scope: str) -> bool:
        """Whether the key has a scope; writing includes reading, admin everything."""
        return scope in self.scopes or self.is_admin or (scope == "read" and "write" in self.scopes)


def digest(secret: str) -> str:
    """SHA-256 in hex: enough for secrets of 192 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def document(key: ApiKey, team: str) -> dict[str, Any]:
    """A key as the API shows it: without its secret."""
    return {
        "id": key.id,
        "name": key.name,
        "team": team,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }


class KeyService:
    """Makes, checks and revokes keys."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._noted: dict[str, float] = {}  # when a use was last to be written down, by key

    def create(self, team: str, *scopes: str) -> str:
        """A new key; its text is shown once and cannot be had again."""
        return str(self.issue(None, team, scopes)["key"])

    def issue(
        self,
        caller: Caller | None,
        team: str,
        scopes: Sequence[str],
        name: str = "",
        expires_at: float | None = None,
    ) -> dict[str, Any]:
        """A new key with its document; admins only. caller: None for the service itself."""
        if caller is not None:
            require_admin(caller)
        if not scopes or not set(scopes) <= set(SCOPES):
            raise InvalidInput(f"a key's scopes are some of {', '.join(SCOPES)}, not {list(scopes)}")
        if expires_at is not None and expires_at <= time.time():
            raise InvalidInput("expires_at lies in the past")
        with self.database.transaction() as session:
            return self._issued(session, caller, team, scopes, name, expires_at)

    @staticmethod
    def _issued(
        session: Any,
        caller: Caller | None,
        team: str,
        scopes: Sequence[str],
        name: str,
        expires_at: float | None = None,
    ) -> dict[str, Any]:
        secret = secrets.token_hex(24)
        owner = keys.team(session, team)
        key = keys.add(session, owner.id, sorted(set(scopes)), digest(secret), name, expires_at)
        by = caller or Caller(owner.id, frozenset())
        audit.record(session, by.team_id, by.key_id, "key.created", key.id, {"team": team, "scopes": key.scopes})
        return {**document(key, team), "key": f"s2a_{key.id}_{secret}"}

    def bootstrap(self) -> str | None:
        """A first admin key when there is none at all."""
        with self.database.transaction() as session:
            if keys.count(session):
                if not keys.valid_admins(session, time.time()):
                    log.warning("no admin key is valid", remedy="s2a keys create --offline --scope admin --team TEAM")
                return None
            keys.team(session, "admin")  # of servers that start together the others wait here for the first one's key
            if keys.count(session):
                return None
            return str(self._issued(session, None, "admin", ("admin",), "first key")["key"])

    def authenticate(self, text: str | None) -> Caller:
        """Who holds this key; NotAuthorized for none, a malformed, a wrong, an expired or a revoked one."""
        parts = (text or "").split("_")
        if len(parts) != 3 or parts[0] != "s2a" or not text:
            raise NotAuthorized("no API key of the form s2a_<id>_<secret>: send it as `Authorization: Bearer s2a_...`")
        now = time.time()
        with self.database.reading() as session:
            key = keys.find(session, parts[1])
            # The digest is compared also for a key that does not exist, so that the time tells nothing.
            is_known = hmac.compare_digest(key.secret_hash if key else digest(""), digest(parts[2]))
        if key is None or not is_known:
            raise NotAuthorized("this key is not known, or was revoked")
        if key.expires_at is not None and key.expires_at <= now:
            raise NotAuthorized("this key has expired")
        if now - max(key.last_used_at or 0.0, self._noted.get(key.id, 0.0)) > USED_EVERY_S:
            self._note_use(key.id, now)
        return Caller(key.team_id, frozenset(key.scopes), key.id)

    def _note_use(self, key_id: str, now: float) -> None:
        """Remember that a key was used. A database that takes no changes stops nobody from reading."""
        self._noted[key_id] = now  # tried: a refusal is not asked for again with every request
        try:
            with self.database.transaction() as session:
                keys.used(session, key_id, now)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                raise
            log.warning("last_used_at was not written", key_id=key_id, why=refusal.code)

    def holder(self, key_id: str) -> Caller:
        """Who holds a key by its id, for its sessions; NotAuthorized when it was revoked or has expired."""
        with self.database.reading() as session:
            key = keys.find(session, key_id)
        if key is None or (key.expires_at is not None and key.expires_at <= time.time()):
            raise NotAuthorized("the key of this session was revoked or has expired: sign in again")
        return Caller(key.team_id, frozenset(key.scopes), key.id)

    def whoami(self, caller: Caller) -> dict[str, Any]:
        """The caller's own key."""
        with self.database.reading() as session:
            key = keys.find(session, caller.key_id or "")
            if key is None:
                raise NotFound("this caller has no key")
            return document(key, keys.team_name(session, key.team_id))

    def listed(
        self, caller: Caller, limit: int = 200, after: str | None = None, team_id: str | None = None
    ) -> dict[str, Any]:
        """A page of keys, newest first, without their secrets, of that team if one is given; admins only."""
        require_admin(caller)
        with self.database.reading() as session:
            rows, following = keys.listed(session, team_id, limit, after)
            return {"items": [document(key, team) for key, team in rows], "next": following}

    def revoke(self, caller: Caller, key_id: str) -> None:
        """Make a key useless; admins only, but everybody their own. WrongState for the last admin's key."""
        if key_id != caller.key_id:
            require_admin(caller)
        with self.database.transaction() as session:
            admins = keys.valid_admins(session, time.time())
            key = keys.find(session, key_id)
            if key is None:
                raise NotFound(f"no key {key_id[:100]}")
            if admins == [key_id]:
                raise WrongState(f"{key_id} is the last valid admin key: make another one first, or nobody could")
            keys.revoke(session, key)
            audit.record(session, caller.team_id, caller.key_id, "key.revoked", key_id)


def require_admin(caller: Caller) -> None:
    """NotAllowed for anybody else."""
    require(caller, "admin")


def require(caller: Caller, scope: str) -> None:
    """NotAllowed for who has not the scope."""
    if not caller.may(scope):
        raise NotAllowed(
            f"this needs a key of scope {scope}", details={"scope": scope, "scopes": sorted(caller.scopes)}
        )
