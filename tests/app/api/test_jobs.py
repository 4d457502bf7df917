"""Jobs over HTTP: versions as ETags, and requests that are done once per Idempotency-Key."""

from __future__ import annotations

import time
from typing import Any

from fastapi.testclient import TestClient

from app.executors.base import DeviceReading
from app.models.tables import Job
from app.queue.scheduler import Scheduler
from app.store import attempts, jobs, queue
from tests.app.conftest import PretendExecutor

BODY = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}


def test_a_new_job_has_a_place_and_a_version(service: TestClient) -> None:
    made = service.post("/v1/jobs", json={**BODY, "name": "first", "metadata": {"owner": "ana"}})
    assert made.status_code == 201
    job = made.json()
    assert made.headers["location"] == f"/v1/jobs/{job['id']}"
    shown = service.get(made.headers["location"])
    assert shown.headers["etag"] == made.headers["etag"] == '"v1"'
    assert shown.json() == job
    assert (job["name"], job["metadata"], job["reason"]["code"]) == ("first", {"owner": "ana"}, "waiting")


def test_who_has_the_version_is_told_so(service: TestClient, submit: Any) -> None:
    path = f"/v1/jobs/{submit()}"
    tag = service.get(path).headers["etag"]
    again = service.get(path, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    listed = service.get("/v1/jobs")
    assert service.get("/v1/jobs", headers={"If-None-Match": listed.headers["etag"]}).status_code == 304


def test_a_change_meant_for_an_older_version_is_refused(service: TestClient, submit: Any) -> None:
    path = f"/v1/jobs/{submit()}"
    tag = service.get(path).headers["etag"]
    paused = service.post(f"{path}/pause", headers={"If-Match": tag})
    assert (paused.status_code, paused.headers["etag"]) == (202, '"v2"')
    late = service.post(f"{path}/resume", headers={"If-Match": tag})
    assert (late.status_code, late.json()["code"], late.json()["details"]) == (412, "changed", {"version": 2})
    assert service.post(f"{path}/resume", headers={"If-Match": "nonsense"}).status_code == 422
    assert service.post(f"{path}/resume", headers={"If-Match": "*"}).status_code == 202


def test_a_place_in_the_queue_changes_the_tag_and_not_the_version(
    service: TestClient, submit: Any, scheduler: Scheduler, executor: PretendExecutor
) -> None:
    executor.readings = [DeviceReading("w", "cpu", "cpu", 64 * 2**20)]
    scheduler.tick()
    submit()
    path = f"/v1/jobs/{submit()}"
    tag = service.get(path).headers["etag"]
    scheduler.tick()
    answer = service.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.json()["position"], answer.json()["version"]) == (200, 1, 1)
    assert service.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert service.post(f"{path}/pause", headers={"If-Match": tag}).status_code == 202


def test_the_tag_of_a_job_that_trains_can_be_sent_back(service: TestClient, submit: Any) -> None:
    job = submit()
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        row = session.get(Job, job)
        attempts.claim(session, row, "hash")
        row.phases = [{"name": "training", "started_at": time.time() - 10, "ended_at": None}]
        jobs.add_event(session, row, "step", {"step": 1, "total_steps": 9})
    first = service.get(f"/v1/jobs/{job}")
    assert first.json()["estimated_finish_at"] is not None
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        jobs.add_event(session, session.get(Job, job), "step", {"step": 5, "total_steps": 9})
    second = service.get(f"/v1/jobs/{job}", headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.json()["version"] == first.json()["version"]
    paused = service.post(f"/v1/jobs/{job}/pause", headers={"If-Match": first.headers["etag"]})
    assert (paused.status_code, paused.json()["status"]) == (202, "pausing")
    late = service.post(f"/v1/jobs/{job}/cancel", headers={"If-Match": second.headers["etag"]})
    assert late.status_code == 412


def test_the_same_key_and_body_make_one_job(service: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = service.post("/v1/jobs", json=BODY, headers=headers)
    second = service.post("/v1/jobs", json=BODY, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert len(service.get("/v1/jobs").json()["items"]) == 1
    other = service.post("/v1/jobs", json={**BODY, "epochs": 9}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_errors_point_at_what_is_wrong(service: TestClient) -> None:
    answer = service.post("/v1/jobs", json={**BODY, "epochs": 0, "colour": "red"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {error["pointer"] for error in body["errors"]} == {"/epochs", "/colour"}
    assert body["request_id"] == answer.headers["x-request-id"]
    query = service.get("/v1/jobs", params={"limit": 0, "after": "x"}).json()
    assert query["errors"] == [{"parameter": "limit", "in": "query", "detail": query["errors"][0]["detail"]}]
    assert service.get("/v1/jobs", params={"after": "x"}).json()["code"] == "bad_cursor"


def test_a_job_without_a_plan_says_what_it_needs(service: TestClient) -> None:
    answer = service.post("/v1/jobs", json={"model": "s2a_tiny"})
    assert answer.status_code == 422
    assert "needs data, budget" in answer.json()["title"]
    assert service.post("/v1/jobs", json={"plan": "plan_none"}).status_code == 404


def test_a_reason_without_a_place_changes_the_tag_too(service: TestClient, submit: Any) -> None:
    """A job over its quota has no position: whoever asks with the tag of before is told why it waits."""
    job_id = submit()
    before = service.get(f"/v1/jobs/{job_id}").headers["etag"]
    reason = {"code": "quota_jobs", "message": "the team runs 1 of 1", "details": {}}
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        queue.explain(session, [queue.Waited(job_id, reason, None, None)])
    shown = service.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": before})
    assert (shown.status_code, shown.json()["reason"]["code"]) == (200, "quota_jobs")
    again = service.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": shown.headers["etag"]})
    assert again.status_code == 304


def test_a_stop_that_is_asked_for_again_is_said_once(service: TestClient, submit: Any, scheduler: Scheduler) -> None:
    job_id = submit()
    scheduler.tick()
    for word in ("pause", "pause", "cancel", "cancel"):
        answer = service.post(f"/v1/jobs/{job_id}/{word}")
        assert answer.status_code == 202
    kinds = [event["type"] for event in service.get(f"/v1/jobs/{job_id}/events").json()["items"]]
    assert kinds == ["queued", "started", "pausing", "cancelling"]
    assert [line["action"] for line in service.get("/v1/audit").json()["items"][:2]] == ["job.cancelled", "job.paused"]
