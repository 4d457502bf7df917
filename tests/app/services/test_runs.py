"""An attempt may speak for its job while it is the current one, once per event."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.queue.scheduler import Scheduler
from app.services.runs import phases_with
from app.store import attempts
from tests.app.conftest import REQUEST, PretendExecutor
from tests.app.executors.test_supervisor import Runner

MIB = 2**20


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


def reservation(num_bytes: int, peak: int = 5) -> dict[str, Any]:
    payload = {"reserved_bytes": num_bytes, "planned_peak_bytes": peak}
    return {"first": 0, "events": [{"type": "reservation", "payload": payload}]}


def reserved(scheduler: Scheduler) -> list[int]:
    with scheduler.database.reading() as session:
        return [attempt.reserved_bytes for attempt, _ in attempts.live(session)]


def test_a_plan_that_comes_home_lets_a_job_of_another_team_start(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    first = submit(budget="90MiB")
    scheduler.tick()
    other = service.app.state.services.keys.create("team-b", "read", "write")  # type: ignore[attr-defined]
    body = {**REQUEST, "budget": "80MiB"}
    waiting = service.post("/v1/jobs", json=body, headers={"Authorization": f"Bearer {other}"}).json()["id"]
    scheduler.tick()
    assert service.get(f"/v1/jobs/{waiting}").json()["reason"]["code"] == "waiting_for_memory"
    runner = Runner(service, executor.launched[0])
    assert runner.post("events", reservation(20 * MIB, 19 * MIB)).status_code == 200
    scheduler.tick()
    assert service.get(f"/v1/jobs/{waiting}").json()["status"] == "running"
    assert service.get(f"/v1/jobs/{first}").json()["planned_peak_bytes"] == 19 * MIB
    assert reserved(scheduler) == [20 * MIB, 80 * MIB]
    assert runner.post("events", {**reservation(90 * MIB), "first": 1}).status_code == 200
    assert reserved(scheduler) == [20 * MIB, 80 * MIB], "what was given back is another job's"


def test_only_the_current_attempt_gives_back_and_the_next_one_begins_with_the_whole_budget(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job = submit(budget="90MiB")
    scheduler.tick()
    stale = Runner(service, executor.launched[0])
    stale.post("events", reservation(20 * MIB))
    executor.dead.add(1)
    scheduler.tick()
    scheduler.tick()
    assert reserved(scheduler) == [90 * MIB]
    assert service.get(f"/v1/jobs/{job}").json()["planned_peak_bytes"] is None
    assert stale.post("events", {**reservation(10 * MIB), "first": 1}).status_code in (409, 410)
    assert reserved(scheduler) == [90 * MIB]


def test_bytes_that_were_held_until_the_plan_came_home_are_charged(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    job = submit(budget="90MiB")
    scheduler.tick()
    with scheduler.database.transaction() as session:
        ((attempt, row),) = attempts.live(session)
        attempt.started_at -= 100.0
        attempts.shrink(attempt, row, 30 * MIB, attempt.started_at + 40.0)
        assert row.byte_seconds == 60 * MIB * 40
        assert row.id == job


def test_a_job_that_passed_its_plans_peak_keeps_its_budget_and_reserves_more_above_its_next_plan(
    submit: Any, service: TestClient, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    submit(budget="90MiB")
    scheduler.tick()
    runner = Runner(service, executor.launched[0])
    runner.post("events", reservation(20 * MIB))
    verdict = {"fault": "memory", "code": "out_of_memory", "excess_bytes": 7 * MIB, "cap_bytes": 20 * MIB}
    reason = {"code": "out_of_memory", "message": "m", "details": {}}
    runner.post("state", {"status": "failed", "reason": reason, "verdict": verdict})
    executor.dead.add(1)
    scheduler.tick()
    scheduler.tick()
    headers = {"Authorization": f"Bearer {executor.launched[1]['token']}"}
    asked = service.get(f"/v1/runner/attempts/{executor.launched[1]['attempt']}/request", headers=headers).json()
    assert (asked["request"]["budget_bytes"], asked["reserved_bytes"]) == (90 * MIB, 90 * MIB)
    assert (asked["missed_bytes"], asked["is_tightened"]) == (7 * MIB, False)


def test_a_phase_closes_the_one_before() -> None:
    phases = phases_with(phases_with([], {"phase": "planning"}), {"phase": "training"})
    assert [p["name"] for p in phases] == ["planning", "training"]
    assert phases[0]["ended_at"] is not None
    assert phases[1]["ended_at"] is None
