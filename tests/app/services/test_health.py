"""Whether the service can take work."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import text

from app.services.health import HealthService


def test_a_check_changes_nothing(service: TestClient, tmp_path: Path) -> None:
    database = service.app.state.database  # type: ignore[attr-defined]
    HealthService(database, tmp_path).check()
    with database.engine.connect() as connection:
        assert connection.execute(text("select count(*) from ended_sessions")).scalar() == 0
