"""Jobs move through their states as asked, and stay inside their team."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient


def test_another_teams_job_does_not_exist(service: TestClient, submit: Any) -> None:
    job = submit()
    key = service.post("/v1/keys", json={"team": "b"}).json()["key"]
    other = {"Authorization": f"Bearer {key}"}
    for path in ("", "/events", "/artifacts", "/artifacts/plan.json"):
        assert service.get(f"/v1/jobs/{job}{path}", headers=other).status_code == 404
    assert service.post(f"/v1/jobs/{job}/cancel", headers=other).status_code == 404
    assert service.get("/v1/jobs", headers=other).json()["items"] == []


def test_a_queued_job_is_cancelled_at_once_and_cannot_be_cancelled_twice(service: TestClient, submit: Any) -> None:
    job = submit()
    assert service.post(f"/v1/jobs/{job}/cancel").json()["status"] == "cancelled"
    assert service.post(f"/v1/jobs/{job}/cancel").status_code == 409


def test_a_paused_job_waits_until_it_is_resumed(service: TestClient, submit: Any) -> None:
    job = submit()
    assert service.post(f"/v1/jobs/{job}/resume").status_code == 409
    assert service.post(f"/v1/jobs/{job}/pause").json()["status"] == "paused"
    assert service.post(f"/v1/jobs/{job}/resume").json()["status"] == "queued"
