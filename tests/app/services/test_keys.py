"""Keys open what their scope allows and nothing else."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


@pytest.mark.parametrize("text", ["", "Bearer", "Bearer s2a_x", "Bearer s2a_aa_bb", "Basic abc"])
def test_a_wrong_key_is_refused(service: TestClient, text: str) -> None:
    assert service.get("/v1/jobs", headers={"Authorization": text}).status_code == 401


def test_a_user_cannot_make_keys_and_a_revoked_key_is_refused(service: TestClient) -> None:
    key = service.post("/v1/keys", json={"team": "b"}).json()["key"]
    user = {"Authorization": f"Bearer {key}"}
    assert service.get("/v1/jobs", headers=user).status_code == 200
    assert service.post("/v1/keys", json={"team": "b"}, headers=user).status_code == 403
    assert service.get("/v1/keys", headers=user).status_code == 403
    assert key.split("_")[2] not in service.get("/v1/keys").text
    assert service.delete(f"/v1/keys/{key.split('_')[1]}").status_code == 204
    assert service.get("/v1/jobs", headers=user).status_code == 401
