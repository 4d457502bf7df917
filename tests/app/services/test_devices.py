"""Devices and the queue: bytes for everybody, names for the team."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from app.models import Attempt, Device


def test_memory_and_waiting_jobs(service: TestClient, submit: Any) -> None:
    running, waiting = submit(), submit()
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        device = Device(worker="w", kind="cpu", name="cpu", capacity_bytes=1000, reserve_bytes=100, baseline_bytes=50)
        session.add(device)
        session.flush()
        session.add(Attempt(job_id=running, epoch=1, token_hash="h", reserved_bytes=300, device_id=device.id))
    (shown,) = service.get("/v1/devices").json()["items"]
    assert (shown["reserved_bytes"], shown["free_bytes"], shown["jobs"][0]["job_id"]) == (300, 550, running)
    assert service.get(f"/v1/devices/{shown['id']}").json() == shown
    assert service.get("/v1/devices/dev_none").status_code == 404
    key = service.post("/v1/keys", json={"team": "b"}).json()["key"]
    queue = service.get("/v1/queue", headers={"Authorization": f"Bearer {key}"}).json()
    assert queue["devices"][0]["jobs"] == [{**dict.fromkeys(shown["jobs"][0]), "reserved_bytes": 300}]
    assert [item["job_id"] for item in queue["waiting"]] == [None, None]
    own = service.get("/v1/queue").json()["waiting"]
    assert [(item["position"], item["job_id"]) for item in own] == [(1, running), (2, waiting)]
