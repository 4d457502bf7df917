"""A key made on the service's machine, without any other key."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.cli.offline import make_key
from app.store.database import Database
from s2a_core.errors import InvalidInput


def test_a_key_made_offline_opens_a_running_service(service: TestClient, tmp_path: Path) -> None:
    made = make_key(f"sqlite:///{tmp_path / 's2a.db'}", "admin", ["admin"], "after a loss")
    key = {"Authorization": f"Bearer {made['key']}"}
    assert service.get("/v1/keys", headers=key).status_code == 200


def test_a_key_made_offline_on_either_database(database: Database) -> None:
    assert make_key(database.url, "a", ["read"], "")["scopes"] == ["read"]


def test_where_there_is_no_database_none_is_made(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'none.db'}", "postgresql+psycopg://127.0.0.1:9/none", "words"):
        with pytest.raises(InvalidInput):
            make_key(url, "a", ["admin"], "")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    with pytest.raises(InvalidInput, match="no such table"):
        make_key(f"sqlite:///{tmp_path / 'empty.db'}", "a", ["admin"], "")
    with pytest.raises(InvalidInput, match="team"):
        make_key(f"sqlite:///{tmp_path / 'empty.db'}", "", ["admin"], "")
