"""One key, one act: replays, other bodies, acts that are under way or failed."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.errors import InProgress, KeyReused
from app.services.idempotency import IdempotencyService
from app.services.keys import Caller
from app.store import idempotency


@pytest.fixture
def caller(service: TestClient) -> Caller:
    team = service.get("/v1/teams").json()["items"][0]["id"]
    return Caller(team, frozenset({"write"}))


def test_an_act_is_done_once(service: TestClient, caller: Caller) -> None:
    once = IdempotencyService(service.app.state.database).once  # type: ignore[attr-defined]
    done: list[int] = []

    def act() -> dict[str, Any]:
        done.append(1)
        with pytest.raises(InProgress):
            once(caller, "k", [1], 201, act)
        return {"id": "x"}

    assert once(caller, "k", [1], 201, act) == ({"id": "x"}, False)
    assert once(caller, "k", [1], 201, act) == ({"id": "x"}, True)
    assert done == [1]
    with pytest.raises(KeyReused):
        once(caller, "k", [2], 201, act)
    assert once(caller, None, [1], 201, lambda: {"id": "y"}) == ({"id": "y"}, False)


def test_an_abandoned_or_forgotten_request_is_done_again(
    service: TestClient, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = service.app.state.database  # type: ignore[attr-defined]
    once = IdempotencyService(database).once
    with database.transaction() as session:
        idempotency.begin(session, caller.team_id, "k", hashlib.sha256(b"[1]").hexdigest())
    with pytest.raises(InProgress):
        once(caller, "k", [1], 201, lambda: {"id": "x"})
    for passed_s, request, number in ((61.0, [1], "x"), (25 * 3600.0, [2], "y")):
        later = time.time() + passed_s
        monkeypatch.setattr(time, "time", lambda later=later: later)
        assert once(caller, "k", request, 201, lambda number=number: {"id": number}) == ({"id": number}, False)


def test_an_act_that_failed_may_be_tried_again(service: TestClient, caller: Caller) -> None:
    once = IdempotencyService(service.app.state.database).once  # type: ignore[attr-defined]

    def fail() -> dict[str, Any]:
        raise ValueError

    with pytest.raises(ValueError):
        once(caller, "k", [1], 201, fail)
    assert once(caller, "k", [1], 201, lambda: {"id": "x"}) == ({"id": "x"}, False)
