"""Keys over HTTP: shown once, with scopes, an end, and a last use."""

from __future__ import annotations

import time

from fastapi.testclient import TestClient
from sqlalchemy import update

from app.models import ApiKey


def test_a_key_with_an_end(service: TestClient) -> None:
    assert service.post("/v1/keys", json={"team": "b", "expires_at": 1.0}).status_code == 422
    made = service.post(
        "/v1/keys", json={"team": "b", "name": "ci", "scopes": ["read"], "expires_at": time.time() + 60}
    )
    assert made.status_code == 201
    user = {"Authorization": f"Bearer {made.json()['key']}"}
    me = service.get("/v1/keys/me", headers=user).json()
    assert (me["name"], me["team"], me["scopes"]) == ("ci", "b", ["read"])
    assert time.time() - me["last_used_at"] < 60
    with service.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        session.execute(update(ApiKey).where(ApiKey.id == me["id"]).values(expires_at=time.time() - 1))
    expired = service.get("/v1/keys/me", headers=user)
    assert (expired.status_code, expired.json()["title"]) == (401, "this key has expired")
    assert made.json()["key"] not in service.get("/v1/keys").text
