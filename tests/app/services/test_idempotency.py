"""One key, one act: replays, other bodies, acts that are under way or failed."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.errors import InProgress, KeyReused
from app.main import create_app
from app.models import IdempotencyKey
from app.services.idempotency import IdempotencyService
from app.services.keys import Caller
from app.settings import Settings
from app.store import idempotency
from app.store.database import Database


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


def test_an_act_whose_answer_was_not_kept_has_not_happened(
    service: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process is killed between the two: sent again, there is one job, and not two."""

    def die(*_: Any) -> None:
        raise RuntimeError

    body = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
    key = {"Idempotency-Key": "one"}
    with monkeypatch.context() as killed:
        killed.setattr(idempotency, "finish", die)
        assert service.post("/v1/jobs", json=body, headers=key).status_code == 500
    assert service.get("/v1/jobs").json()["items"] == []
    answers = [service.post("/v1/jobs", json=body, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert len(service.get("/v1/jobs").json()["items"]) == 1


def test_a_request_that_is_being_served_says_when_to_ask_again(service: TestClient) -> None:
    database = service.app.state.database  # type: ignore[attr-defined]
    body = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
    assert service.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"}).status_code == 201
    with database.transaction() as session:
        known = session.scalars(select(IdempotencyKey)).one()
        known.response = None  # as a version before this left it, that was killed
    answer = service.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.headers["retry-after"]) == (409, "1")


def test_the_same_request_from_many_at_once_makes_one_job(database: Database, tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path, database_url=database.url, run_scheduler=False, run_workers=False))
    with TestClient(app) as client:
        client.headers["Authorization"] = f"Bearer {app.state.services.keys.create('a', 'write')}"
        client.headers["Idempotency-Key"] = "one"
        body = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: client.post("/v1/jobs", json=body), range(16)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert len(client.get("/v1/jobs").json()["items"]) == 1
