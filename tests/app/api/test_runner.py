"""The runner's endpoints are not part of the public documentation, and take files without holding them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api import runner
from app.queue.scheduler import Scheduler
from app.settings import Settings
from tests.app.conftest import PretendExecutor


def test_they_are_hidden_and_refuse_an_unknown_attempt(service: TestClient) -> None:
    assert not [path for path in service.get("/openapi.json").json()["paths"] if "runner" in path]
    assert service.get("/v1/runner/attempts/att_x/request").status_code == 404


def test_the_token_is_looked_at_before_a_body_is_read(service: TestClient) -> None:
    for path in ("events", "state", "heartbeat"):
        url = f"/v1/runner/attempts/att_x/{path}"
        wrong = service.post(url, content=b"[", headers={"Content-Type": "application/json"})
        assert wrong.status_code == 404
        none = service.post(url, content=b"[", headers={"Content-Type": "application/json", "Authorization": ""})
        assert none.status_code == 401


def test_a_large_file_goes_to_the_disk_in_pieces_and_one_that_is_cut_off_leaves_nothing(
    service: TestClient,
    submit: Any,
    scheduler: Scheduler,
    executor: PretendExecutor,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = submit()
    scheduler.tick()
    found = executor.launched[-1]
    url = f"/v1/runner/attempts/{found['attempt']}/artifacts/adapter.safetensors"
    headers = {"Authorization": f"Bearer {found['token']}"}
    monkeypatch.setattr(runner, "PIECE_BYTES", 1000)
    content = bytes(range(251)) * 400
    pieces = (content[start : start + 700] for start in range(0, len(content), 700))
    assert service.put(url, content=pieces, headers=headers).status_code == 200
    (listed,) = service.get(f"/v1/jobs/{job}/artifacts").json()["items"]
    assert (listed["num_bytes"], listed["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())

    def cut_off() -> Any:
        yield b"x" * 5000
        raise ConnectionError

    assert service.put(url, content=cut_off(), headers=headers).status_code == 500
    assert service.get(f"/v1/jobs/{job}/artifacts/adapter.safetensors").content == content
    folder = Path(settings.data_dir, "jobs", job, "artifacts")
    assert [path.name for path in folder.iterdir()] == ["adapter.safetensors"]
