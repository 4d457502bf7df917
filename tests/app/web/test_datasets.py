"""The page of datasets: add one by name, see why one was refused, remove it."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from app.models import Dataset, Team
from tests.app.web.conftest import Send


def test_a_directory_is_added_and_removed(pages: TestClient, send: Send, tmp_path: Path) -> None:
    assert "No dataset yet" in pages.get("/datasets").text
    (tmp_path / "photos").mkdir()
    text = send("/datasets", name="photos", source=str(tmp_path / "photos")).text
    assert "validating" in text
    with pages.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        dataset = session.query(Dataset).one()
        dataset.status, dataset.reason = "refused", {"code": "bad", "message": "2 files cannot be read", "details": {}}
        name = dataset.id
    assert "2 files cannot be read" in pages.get("/datasets").text
    assert "No dataset yet" in send(f"/datasets/{name}/remove").text


def test_a_dataset_needs_a_name_and_a_source(send: Send) -> None:
    answer = send("/datasets", name="photos", source="")
    assert answer.status_code == 422
    assert "needs a name" in answer.text


def test_uploaded_weights_are_listed_and_offered_to_jobs(pages: TestClient) -> None:
    summary = {"contents": "weights", "num_tensors": 148, "num_parameters": 5_717_416, "dtypes": ["F32"]}
    with pages.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        team = session.query(Team).first().id
        weights = Dataset(team_id=team, name="mine", source={"kind": "upload"}, status="ready", summary=summary)
        session.add(weights)
        session.flush()
        weights_id = weights.id
    text = pages.get("/datasets").text
    assert "<b>5.7 M</b><small>parameters</small>" in text
    assert f"/jobs/new?weights={weights_id}" in text
    form = pages.get(f"/jobs/new?weights={weights_id}").text
    weights_offered, sources = (
        form.split(f'<datalist id="{name}">')[1].split("</datalist>")[0] for name in ("weights", "sources")
    )
    assert (weights_id in weights_offered, weights_id in sources) == (True, False)
