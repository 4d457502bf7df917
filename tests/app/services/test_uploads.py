"""Uploads in parts: where a part begins is checked, a cut is resumed, an end is an end."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.models import Upload
from app.services.keys import Caller
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


async def parts(*given: bytes, then: Any = None) -> AsyncIterator[bytes]:
    for part in given:
        yield part
    if then is not None:
        await then()


def receive(service: TestClient, upload: dict[str, Any], offset: int, chunks: AsyncIterator[bytes]) -> Any:
    state = service.app.state  # type: ignore[attr-defined]
    anybody = Caller("team", frozenset({"admin"}))
    return state.services.uploads.receive(anybody, upload["url"].rsplit("/", 1)[1], offset, chunks)


def test_a_second_sender_of_a_part_waits_for_the_first(
    service: TestClient, upload: dict[str, Any], tmp_path: Path
) -> None:
    """It connects while the first one's part is half there, and is cut off at once: nothing of the first is lost."""
    seen: list[Any] = []

    async def connect() -> None:
        seen.append(await to_thread.run_sync(lambda: send(service, upload, 0, b"")))

    async def first() -> AsyncIterator[bytes]:
        yield b"01234"
        await connect()
        yield b"56789"

    async def run() -> Any:
        return await receive(service, upload, 0, first())

    assert anyio.run(run)["received"] == 10
    assert (seen[0].status_code, seen[0].json()["code"]) == (409, "in_progress")
    assert int(seen[0].headers["retry-after"]) >= 1
    folder = tmp_path / "datasets" / upload["dataset"].rsplit("/", 1)[-1]
    assert (folder / "upload").read_bytes() == b"0123456789"
    assert not list((tmp_path / "uploads").iterdir())


def test_a_sender_that_falls_silent_makes_room_for_its_next_try(service: TestClient, upload: dict[str, Any]) -> None:
    service.app.state.services.uploads.settings.upload_idle_s = 0.05  # type: ignore[attr-defined]

    async def run() -> Any:
        return await receive(service, upload, 0, parts(b"012", then=anyio.sleep_forever))

    assert anyio.run(run)["received"] == 3
    assert send(service, upload, 3, b"3456789").json()["received"] == 10


def test_a_disk_that_takes_a_part_of_a_write_only(
    service: TestClient, upload: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, content, at: write(handle, content[:2], at))
    assert send(service, upload, 0, b"0123456789").json()["received"] == 10
    folder = tmp_path / "datasets" / upload["dataset"].rsplit("/", 1)[-1]
    assert (folder / "upload").read_bytes() == b"0123456789"


def test_an_upload_that_could_not_be_dropped_is_whole(
    service: TestClient, upload: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    send(service, upload, 0, b"01234")
    for url in (upload["url"], upload["dataset"]):
        with monkeypatch.context() as broken:
            broken.setattr(datasets, "remove", lambda *_: 1 / 0)
            assert service.delete(url).status_code == 500
    assert send(service, upload, 5, b"56789").json()["received"] == 10


def test_nothing_stays_of_a_part_whose_upload_was_dropped_meanwhile(
    service: TestClient, upload: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it was looked up, and before the part's file is made anew."""
    uploads = service.app.state.services.uploads  # type: ignore[attr-defined]
    begin = uploads._begin

    def dropped(caller: Caller, upload_id: str, offset: int | None) -> Upload:
        found: Upload = begin(caller, upload_id, offset)
        if offset is not None:
            uploads.abort(caller, upload_id)
        return found

    monkeypatch.setattr(uploads, "_begin", dropped)
    assert send(service, upload, 0, b"012").status_code == 404
    assert not list((tmp_path / "uploads").iterdir())
