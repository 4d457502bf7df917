"""What a job left behind is listed, and its files come back whole or in ranges."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.models import Attempt, Checkpoint, Metric
from app.services.jobs import job_folder
from app.store import jobs

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def job(service: TestClient, submit: Any, tmp_path: Path) -> str:
    made: str = submit()
    folder = job_folder(tmp_path, made) / "artifacts"
    folder.mkdir(parents=True)
    (folder / "adapter.safetensors").write_bytes(CONTENT)
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        jobs.put_artifact(session, made, "adapter.safetensors", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
        for step in (1, 2):
            session.add(Metric(job_id=made, name="step.loss", step=step, value=1 / step))
            session.add(Checkpoint(job_id=made, attempt_epoch=1, step=step, path="p", num_bytes=9, sha256="0" * 64))
        session.add(Attempt(job_id=made, epoch=1, token_hash="h", reserved_bytes=5))
    return f"/v1/jobs/{made}"


def test_lists(service: TestClient, job: str) -> None:
    assert [c["step"] for c in service.get(f"{job}/checkpoints").json()["items"]] == [2, 1]
    (attempt,) = service.get(f"{job}/attempts").json()["items"]
    assert (attempt["epoch"], attempt["state"]) == (1, "starting")
    assert "token_hash" not in attempt
    series = service.get(f"{job}/metrics", params={"name": "step.loss", "after_step": 1}).json()["series"]
    assert [(p["step"], p["value"]) for p in series["step.loss"]] == [(2, 0.5)]
    assert service.get(f"{job}/metrics").json()["items"] == []


def test_a_file_whole_and_in_ranges(service: TestClient, job: str) -> None:
    url = f"{job}/artifacts/adapter.safetensors"
    whole = service.get(url)
    assert whole.content == CONTENT
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert whole.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert whole.headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    for asked, wanted in (
        ("bytes=10-19", CONTENT[10:20]),
        ("bytes=-5", CONTENT[-5:]),
        ("bytes=10000-", CONTENT[10000:]),
    ):
        part = service.get(url, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, wanted)
    beyond = service.get(url, headers={"Range": "bytes=99999-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "out_of_range")
    assert beyond.headers["content-range"] == f"bytes */{len(CONTENT)}"
    for odd in ("lines=1-2", "bytes=9-1", "bytes=x", "bytes=-"):
        assert service.get(url, headers={"Range": odd}).content == CONTENT
    assert service.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert service.get(f"{job}/artifacts/other").status_code == 404
