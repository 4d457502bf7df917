"""Plans are listed by status and made once per key."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_plans(service: TestClient) -> None:
    body = {"model": "s2a_tiny", "num_classes": 3, "budget": "1GiB"}
    first, second = (service.post("/v1/plans", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert first.json() == second.json()
    assert first.headers["location"] == f"/v1/plans/{first.json()['id']}"
    assert len(service.get("/v1/plans", params={"status": "queued"}).json()["items"]) == 1
    assert service.get("/v1/plans/plan_none").status_code == 404
