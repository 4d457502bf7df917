"""Secrets are sealed in the database and open under their own key only."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.services.sealing import SealBroken, Sealer


def test_a_secret_opens_under_its_own_key(tmp_path: Path) -> None:
    sealed = Sealer(tmp_path / "a").seal("secret")
    assert "secret" not in sealed
    assert Sealer(tmp_path / "a").open(sealed) == "secret"
    assert Sealer(tmp_path / "a").seal(sealed) == sealed
    assert Sealer(tmp_path / "a").open("in clear, of a version before") == "in clear, of a version before"
    with pytest.raises(SealBroken):
        Sealer(tmp_path / "b").open(sealed)


def test_webhooks_secrets_are_nowhere_in_clear(service: TestClient, tmp_path: Path) -> None:
    state = service.app.state  # type: ignore[attr-defined]
    state.services.webhooks.allow_private = True
    made = service.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"}).json()
    with state.database.engine.begin() as connection:
        connection.execute(text("insert into webhooks select 'old', team_id, url, 'clear', events, 1 from webhooks"))
    state.services.webhooks.seal()
    with state.database.engine.connect() as connection:
        stored = dict(tuple(row) for row in connection.execute(text("select id, secret from webhooks")))
    assert {name: state.services.webhooks.sealer.open(value) for name, value in stored.items()} == {
        made["id"]: made["secret"],
        "old": "clear",
    }
    assert all(value.startswith("fernet:") for value in stored.values())
    state.database.close()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or made["secret"].encode() not in path.read_bytes(), path
