"""An attempt may speak for its job while it is the current one, once per event."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.queue.scheduler import Scheduler
from app.services.runs import phases_with
from tests.app.conftest import PretendExecutor


@pytest.fixture
def attempt(submit: Any, scheduler: Scheduler, executor: PretendExecutor) -> dict[str, Any]:
    job = submit()
    scheduler.tick()
    found = executor.launched[-1]
    return {
        "job": job,
        "url": f"/v1/runner/attempts/{found['attempt']}",
        "headers": {"Authorization": f"Bearer {found['token']}"},
        **found,
    }


def test_a_batch_sent_twice_is_stored_once(service: TestClient, attempt: dict[str, Any]) -> None:
    body = {
        "first": 0,
        "events": [{"type": "phase", "payload": {"phase": "training"}}, {"type": "epoch", "payload": {}}],
    }
    for _ in range(2):
        assert service.post(f"{attempt['url']}/events", json=body, headers=attempt["headers"]).status_code == 200
    kinds = [e["type"] for e in service.get(f"/v1/jobs/{attempt['job']}/events").json()["items"]]
    assert kinds == ["queued", "started", "phase", "epoch"]
    assert service.get(f"/v1/jobs/{attempt['job']}").json()["phases"][0]["name"] == "training"


def test_a_wrong_token_and_a_users_key_are_refused(service: TestClient, attempt: dict[str, Any]) -> None:
    assert service.post(f"{attempt['url']}/heartbeat").status_code == 404
    assert service.post(f"{attempt['url']}/heartbeat", headers={"Authorization": "Bearer x"}).status_code == 404
    assert service.post(f"{attempt['url']}/heartbeat", headers={"Authorization": ""}).status_code == 401
    assert service.get("/v1/jobs", headers=attempt["headers"]).status_code == 401


def test_the_last_word_ends_the_job_once(service: TestClient, attempt: dict[str, Any]) -> None:
    done = {"status": "succeeded", "report": {"accuracy": 0.5}}
    assert service.post(f"{attempt['url']}/state", json=done, headers=attempt["headers"]).status_code == 200
    assert service.get(f"/v1/jobs/{attempt['job']}").json()["report"] == {"accuracy": 0.5}
    again = service.post(f"{attempt['url']}/state", json={"status": "failed"}, headers=attempt["headers"])
    assert again.status_code in (409, 410)


def test_an_older_attempt_is_refused(
    service: TestClient, scheduler: Scheduler, executor: PretendExecutor, attempt: dict[str, Any]
) -> None:
    executor.dead.add(attempt["pid"])
    scheduler.tick()
    scheduler.tick()
    assert len(executor.launched) == 2
    assert service.post(f"{attempt['url']}/heartbeat", headers=attempt["headers"]).status_code in (409, 410)


def test_artifacts_come_back_as_they_were_and_only_by_plain_names(service: TestClient, attempt: dict[str, Any]) -> None:
    put = service.put(f"{attempt['url']}/artifacts/plan.json", content=b'{"a": 1}', headers=attempt["headers"])
    assert put.status_code == 200
    listed = service.get(f"/v1/jobs/{attempt['job']}/artifacts").json()["items"]
    assert [(a["name"], a["num_bytes"]) for a in listed] == [("plan.json", 8)]
    assert service.get(f"/v1/jobs/{attempt['job']}/artifacts/plan.json").json() == {"a": 1}
    for name in ("..%2F..%2Fs2a.db", ".hidden", "a%00b"):
        answer = service.put(f"{attempt['url']}/artifacts/{name}", content=b"x", headers=attempt["headers"])
        assert answer.status_code in (404, 422)
        assert service.get(f"/v1/jobs/{attempt['job']}/artifacts/{name}").status_code in (404, 422)


def test_a_phase_closes_the_one_before() -> None:
    phases = phases_with(phases_with([], {"phase": "planning"}), {"phase": "training"})
    assert [p["name"] for p in phases] == ["planning", "training"]
    assert phases[0]["ended_at"] is not None
    assert phases[1]["ended_at"] is None
