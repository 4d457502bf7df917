"""What changes something writes a line; admins read them."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient


def test_changes_are_written_down_with_their_key(service: TestClient, submit: Any) -> None:
    job = submit()
    service.post(f"/v1/jobs/{job}/cancel")
    key = service.post("/v1/keys", json={"team": "b"}).json()
    lines = service.get("/v1/audit").json()["items"]
    own = str(service.headers["authorization"]).split("_")[1]
    assert [(line["action"], line["object_id"]) for line in lines[:3]] == [
        ("key.created", key["id"]),
        ("job.cancelled", job),
        ("job.created", job),
    ]
    assert {line["key_id"] for line in lines[:3]} == {own}
    assert key["key"].split("_")[2] not in str(lines)
    only = service.get("/v1/audit", params={"action": "job.created"}).json()["items"]
    assert [line["object_id"] for line in only] == [job]
    user = {"Authorization": f"Bearer {key['key']}"}
    assert service.get("/v1/audit", headers=user).status_code == 403
