"""Uploads in parts: where a part begins is checked, a cut is resumed, an end is an end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.models import Upload
from app.store import datasets


@pytest.fixture
def upload(service: TestClient) -> dict[str, Any]:
    made = service.post("/v1/datasets", json={"name": "d", "source": {"kind": "upload", "size": 10}}).json()
    return {"url": f"/v1/uploads/{made['upload']['id']}", "dataset": f"/v1/datasets/{made['id']}"}


def send(service: TestClient, upload: dict[str, Any], at: int, part: bytes) -> Any:
    return service.patch(upload["url"], content=part, headers={"Upload-Offset": str(at)})


def test_parts_are_appended_and_a_client_can_ask_where_to_go_on(service: TestClient, upload: dict[str, Any]) -> None:
    assert send(service, upload, 0, b"01234").json()["received"] == 5
    wrong = send(service, upload, 3, b"345")
    assert (wrong.status_code, wrong.json()["details"]) == (409, {"received": 5})
    assert service.get(upload["url"]).json()["received"] == 5
    long = send(service, upload, 5, b"567890")
    assert (long.status_code, long.json()["details"]) == (413, {"max_bytes": 5})
    last = send(service, upload, 5, b"56789")
    assert (last.status_code, last.headers["upload-offset"]) == (200, "10")
    assert service.get(upload["dataset"]).json()["status"] == "validating"
    assert service.get(upload["url"]).status_code == 404


def test_a_last_part_that_could_not_be_written_down_can_be_sent_again(
    service: TestClient, upload: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(service, upload, 0, b"01234")
    with monkeypatch.context() as broken:
        broken.setattr(datasets, "end_upload", lambda *_: 1 / 0)
        assert send(service, upload, 5, b"56789").status_code == 500
    assert send(service, upload, 5, b"56789").json()["received"] == 10
    folder = tmp_path / "datasets" / upload["dataset"].rsplit("/", 1)[-1]
    assert (folder / "upload").read_bytes() == b"0123456789"


def test_an_upload_can_be_dropped(service: TestClient, upload: dict[str, Any], tmp_path: Path) -> None:
    send(service, upload, 0, b"0123")
    assert service.delete(upload["url"]).status_code == 204
    assert service.get(upload["dataset"]).status_code == 404
    assert not list((tmp_path / "uploads").iterdir())


def test_an_upload_that_nobody_goes_on_with_is_dropped(service: TestClient, upload: dict[str, Any]) -> None:
    state = service.app.state  # type: ignore[attr-defined]
    send(service, upload, 0, b"0123")
    assert state.services.uploads.expire() == 0
    with state.database.transaction() as session:
        session.execute(update(Upload).values(expires_at=time.time() - 1))
    assert state.services.uploads.expire() == 1
    assert service.get(upload["dataset"]).status_code == 404
