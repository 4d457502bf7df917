"""Settings come from S2A_* variables; a runner's environment carries none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings, child_environment


def test_sqlite_in_the_data_directory_unless_a_database_is_named(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).url == f"sqlite:///{tmp_path / 's2a.db'}"
    assert Settings(database_url="postgresql+psycopg://u@h/d").url == "postgresql+psycopg://u@h/d"


def test_a_runner_does_not_see_the_services_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2A_DATABASE_URL", "secret")
    monkeypatch.setenv("OTHER", "kept")
    assert "S2A_DATABASE_URL" not in child_environment()
    assert child_environment()["OTHER"] == "kept"
    assert Settings().database_url == "secret"
