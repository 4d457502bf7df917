"""Teams: admins make and change them, everybody sees their own."""

from __future__ import annotations

import time

import pytest
from fastapi.testclient import TestClient

from app.models import Attempt


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


def test_a_team_is_told_what_it_uses_of_the_last_day(service: TestClient) -> None:
    state, now = service.app.state, time.time()  # type: ignore[attr-defined]
    (team,) = [team for team in service.get("/v1/teams").json()["items"] if team["name"] == "team-a"]
    assert team["usage"] == {"running_jobs": 0, "waiting_jobs": 0, "held_bytes": 0, "byte_seconds_today": 0}
    spans = [(-3600, None), (-30 * 3600, -23 * 3600), (-50 * 3600, -40 * 3600)]  # live; half in the day; before it
    for start, end in spans:
        job = service.post("/v1/jobs", json={"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}).json()["id"]
        times = {"started_at": now + start, "ended_at": None if end is None else now + end}
        with state.database.transaction() as session:
            session.add(Attempt(job_id=job, epoch=1, token_hash="", is_live=end is None, reserved_bytes=100, **times))
    usage = service.get(f"/v1/teams/{team['id']}").json()["usage"]
    assert (usage["running_jobs"], usage["waiting_jobs"], usage["held_bytes"]) == (1, 3, 100)
    assert usage["byte_seconds_today"] == pytest.approx(100 * 2 * 3600, abs=1000)
