"""A migrated database with one team and one job."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.models import Job, Team
from app.store.database import Database


@pytest.fixture
def filled(tmp_path: Path, migrated: Path) -> Iterator[Database]:
    shutil.copyfile(migrated, tmp_path / "filled.db")
    database = Database(f"sqlite:///{tmp_path / 'filled.db'}")
    with database.transaction() as session:
        session.add(Team(id="team_1", name="a"))
        session.flush()
        session.add(Job(id="job_1", team_id="team_1", request={"model": "m"}, budget_bytes=1))
    yield database
    database.close()
