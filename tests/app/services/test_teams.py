"""Teams: admins make and change them, everybody sees their own."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_a_team_is_made_changed_and_seen(service: TestClient) -> None:
    made = service.post("/v1/teams", json={"name": "vision", "weight": 2, "quota_jobs": 3})
    assert made.status_code == 201
    assert service.post("/v1/teams", json={"name": "vision"}).status_code == 409
    url = made.headers["location"]
    changed = service.patch(url, json={"quota_jobs": None, "quota_bytes": 2**40}).json()
    assert (changed["weight"], changed["quota_jobs"], changed["quota_bytes"]) == (2.0, None, 2**40)
    key = service.post("/v1/keys", json={"team": "vision"}).json()["key"]
    own = {"Authorization": f"Bearer {key}"}
    assert [team["name"] for team in service.get("/v1/teams", headers=own).json()["items"]] == ["vision"]
    assert service.patch(url, json={"weight": 9}, headers=own).status_code == 403
