"""A device's name is unique on its worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from app.models import Device
from app.store.database import Database


def test_a_worker_reports_a_device_once(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.migrate()
    made = {"worker": "w", "kind": "cpu", "name": "cpu", "capacity_bytes": 8 * 2**40}

    def store() -> None:
        with database.transaction() as session:
            session.add(Device(**made))

    store()
    with pytest.raises(IntegrityError):
        store()
    with database.transaction() as session:
        found = session.query(Device).one()
        assert (found.capacity_bytes, found.state, found.used_by_others_bytes) == (8 * 2**40, "ready", 0)
    database.close()
