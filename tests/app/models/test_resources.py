"""What is stored of datasets and plans comes back as it was."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from app.models import Dataset, Plan, Team
from app.store.database import Database


def test_documents_come_back_and_none_is_null(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.migrate()
    with database.transaction() as session:
        team = Team(name="a")
        session.add(team)
        session.flush()
        session.add(Dataset(id="ds_1", team_id=team.id, name="d", source={"kind": "upload"}, reason=None))
        session.add(Plan(id="plan_1", team_id=team.id, request={"model": "x̂"}))
    with database.transaction() as session:
        dataset, plan = session.get(Dataset, "ds_1"), session.get(Plan, "plan_1")
        assert dataset is not None
        assert plan is not None
        assert (dataset.source, dataset.status, dataset.num_bytes) == ({"kind": "upload"}, "validating", 0)
        assert (plan.request, plan.status, plan.document) == ({"model": "x̂"}, "queued", None)
        assert session.scalar(text("select count(*) from datasets where reason is null")) == 1
    database.close()
