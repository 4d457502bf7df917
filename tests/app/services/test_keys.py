"""Keys open what their scope allows and nothing else."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from app.errors import WrongState
from app.services.keys import Caller, KeyService
from app.store import keys
from app.store.database import Database


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


def test_the_last_valid_admin_key_cannot_be_revoked(service: TestClient) -> None:
    own = service.get("/v1/keys/me").json()["id"]
    first = next(key["id"] for key in service.get("/v1/keys").json()["items"] if key["name"] == "first key")
    assert service.delete(f"/v1/keys/{first}").status_code == 204
    made = service.post("/v1/keys", json={"team": "b", "scopes": ["admin"], "expires_at": time.time() + 0.2}).json()
    service.post("/v1/keys", json={"team": "b"})
    time.sleep(0.3)  # the other admin's key has expired, the third is no admin's
    for _ in range(2):
        answer = service.delete(f"/v1/keys/{own}")
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong_state")
    assert service.delete(f"/v1/keys/{made['id']}").status_code == 204
    again = service.post("/v1/keys", json={"team": "b", "scopes": ["admin"]}).json()
    assert service.delete(f"/v1/keys/{own}").status_code == 204
    assert service.get("/v1/keys", headers={"Authorization": f"Bearer {again['key']}"}).status_code == 200


def ended(service: KeyService, caller: Caller, key_id: str) -> str:
    try:
        service.revoke(caller, key_id)
    except WrongState:
        return "refused"
    return "revoked"


def test_of_two_admins_who_revoke_each_other_one_stays(database: Database) -> None:
    service = KeyService(database)
    for _ in range(5):
        ids = [service.issue(None, "a", ("admin",))["id"] for _ in range(2)]
        with database.transaction() as session:
            admins = [*keys.valid_admins(session, time.time())]
            for one in admins:
                if one not in ids:
                    keys.revoke(session, keys.find(session, one))
        with database.transaction() as session:
            caller = Caller(keys.team(session, "a").id, frozenset({"admin"}))
        with ThreadPoolExecutor(2) as threads:
            ends = list(threads.map(lambda key_id, by=caller: ended(service, by, key_id), ids))
        assert sorted(ends) == ["refused", "revoked"]
