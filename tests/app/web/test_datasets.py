"""The page of datasets: add one by name, see why one was refused, remove it."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from app.models import Dataset
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
