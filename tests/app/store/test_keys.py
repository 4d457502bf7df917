"""A revoked key is not found."""

from __future__ import annotations

from pathlib import Path

from app.store import keys
from app.store.database import Database


def test_a_key_is_found_until_it_is_revoked(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.migrate()
    with database.transaction() as session:
        made = keys.add(session, keys.team(session, "a").id, ["read"], "hash")
        assert keys.find(session, made.id) is made
        assert [name for _, name in keys.listed(session, None, 10, None)[0]] == ["a"]
        assert keys.revoke(session, made.id)
        assert keys.find(session, made.id) is None
        assert not keys.revoke(session, made.id)
    database.close()
