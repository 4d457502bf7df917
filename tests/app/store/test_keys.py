"""A revoked key is not found."""

from __future__ import annotations

from pathlib import Path

from app.store import keys
from app.store.database import Database

SCOPES_AND_EXPIRIES = ((["admin"], None), (["admin"], 99.0), (["admin"], None), (["write"], None), (["admin"], 101.0))


def test_a_key_is_found_until_it_is_revoked(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.migrate()
    with database.transaction() as session:
        made = keys.add(session, keys.team(session, "a").id, ["read"], "hash")
        assert keys.find(session, made.id) is made
        assert [name for _, name in keys.listed(session, None, 10, None)[0]] == ["a"]
        keys.revoke(session, made)
        assert keys.find(session, made.id) is None
    database.close()


def test_valid_admins_are_neither_revoked_nor_expired(filled: Database) -> None:
    with filled.transaction() as session:
        team = keys.team(session, "admins").id
        made = [keys.add(session, team, scopes, "h", expires_at=at) for scopes, at in SCOPES_AND_EXPIRIES]
        made[2].revoked_at = 1.0
        assert keys.valid_admins(session, now=100.0) == sorted(key.id for key in (made[0], made[4]))
