"""A full disk, a read-only database and one that is away: reading goes on, words say which it is, /readyz knows."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, text

from app.main import create_app
from app.settings import Settings

BODY = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
READ = ("/v1/jobs", "/v1/plans", "/v1/datasets", "/v1/queue", "/v1/devices", "/v1/keys", "/v1/models", "/metrics")
PAGE = {"Accept": "text/html"}


@pytest.fixture
def refusing(tmp_path: Path, database_url: str, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """A service with a job, a key that was never used, and a database that takes no changes any more."""
    chosen: dict[str, Any] = {"rate_per_s": 0, "run_scheduler": False, "run_workers": False}
    app = create_app(Settings(data_dir=tmp_path, database_url=database_url, **chosen))
    with TestClient(app) as client:
        keys, engine = app.state.services.keys, app.state.database.engine
        client.headers["Authorization"] = f"Bearer {keys.create('team-a', 'admin')}"
        assert client.post("/v1/jobs", json=BODY).status_code == 201
        client.unused_key = keys.create("team-a", "admin")  # type: ignore[attr-defined]
        assert client.get("/readyz").status_code == 200
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))
            client.refusal = "disk_full"  # type: ignore[attr-defined]
        else:
            with engine.connect() as connection:
                free = connection.execution_options(isolation_level="AUTOCOMMIT")
                free.execute(text(f"alter database {engine.url.database} set default_transaction_read_only = on"))
            client.refusal = "read_only"  # type: ignore[attr-defined]
        engine.dispose()
        yield client


def check_refused(answer: Any, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, code), answer.text
    assert int(answer.headers["retry-after"]) >= 1


def test_reading_goes_on_and_a_change_says_why_it_is_refused(refusing: TestClient) -> None:
    for key in (refusing.headers["Authorization"], f"Bearer {refusing.unused_key}"):  # type: ignore[attr-defined]
        for path in READ:
            assert refusing.get(path, headers={"Authorization": key}).status_code == 200, path
    code = refusing.refusal  # type: ignore[attr-defined]
    many = {**BODY, "metadata": {f"label{i}": "x" * 500 for i in range(16)}}  # more than the pages there are hold
    for path, body in (
        ("/v1/jobs", many),
        ("/v1/jobs", many | {"name": "again"}),
        ("/v1/datasets", {"name": "x" * 100, "source": {"kind": "hub", "source": f"hf:{'a' * 400}/{'b' * 400}"}}),
    ):
        for headers in ({}, {"Idempotency-Key": "one"}):
            answers = [refusing.post(path, json=body, headers=headers) for _ in range(20)]
            check_refused(answers[-1], code)
            assert {answer.status_code for answer in answers} <= {201, 503}
    check_refused(refusing.get("/readyz"), code)
    assert refusing.get("/livez").status_code == 200


def test_signing_in_goes_on(refusing: TestClient) -> None:
    answer = refusing.post("/sign-in", data={"key": refusing.unused_key}, headers=PAGE)  # type: ignore[attr-defined]
    assert answer.status_code == 200
    assert "Queue" in answer.text


def no_room(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_first_sign_in_without_room_for_the_secret(service: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    state = service.app.state  # type: ignore[attr-defined]
    key = state.services.keys.create("team-a", "admin")
    sessions = state.services.sessions
    sessions._path.unlink()
    sessions._secret = b""
    monkeypatch.setattr(os, "open", no_room)
    seen = service.post("/sign-in", data={"key": key}, headers=PAGE)
    assert (seen.status_code, seen.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "the disk is full" in seen.text
    check_refused(service.post("/sign-in", data={"key": key}), "disk_full")


def test_an_upload_that_finds_no_room_goes_on_later(
    service: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = service.post("/v1/datasets", json={"name": "d", "source": {"kind": "upload", "size": 10}}).json()
    url = f"/v1/uploads/{made['upload']['id']}"
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", no_room)
        check_refused(service.patch(url, content=b"01234", headers={"Upload-Offset": "0"}), "disk_full")
    assert service.get(url).json()["received"] == 0
    assert service.patch(url, content=b"0123456789", headers={"Upload-Offset": "0"}).json()["received"] == 10
    assert (tmp_path / "datasets" / made["id"] / "upload").read_bytes() == b"0123456789"


def test_a_disk_that_is_nearly_full_is_not_ready(service: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 2**30 - 2**20, 2**20))
    check_refused(service.get("/readyz"), "disk_full")
    assert service.get("/v1/jobs").status_code == 200
