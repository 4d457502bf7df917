"""Two requests at one moment, on both kinds of database: the second waits for the first one's end and follows it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InProgress, WrongState
from app.models import ApiKey, Profile, Team
from app.services.idempotency import IdempotencyService
from app.services.keys import Caller, KeyService
from app.services.plans import PlanWorkQueue
from app.services.teams import TeamService
from app.store import idempotency, keys, plans, teams
from app.store.database import Database

LATE_S = 0.5  # how long the second one has to come to where it waits


@pytest.fixture
def caller(database: Database) -> Caller:
    with database.transaction() as session:
        return Caller(keys.team(session, "a").id, frozenset({"admin"}))


def overlapping(database: Database, first: Callable[[Session], Any], second: Callable[[], Any]) -> Future[Any]:
    """What becomes of `second`, which is called after `first` and before its commit."""
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as session:
            first(session)
            late = pool.submit(second)
            wait([late], timeout=LATE_S)
        return late


def test_the_same_idempotency_key_at_once_is_in_progress(database: Database, caller: Caller) -> None:
    service = IdempotencyService(database)

    def once() -> Any:
        return service.once(caller, "k", [1], 201, lambda: pytest.fail("done twice"))

    body_hash = hashlib.sha256(b"[1]").hexdigest()
    late = overlapping(database, lambda session: idempotency.begin(session, caller.team_id, "k", body_hash), once)
    with pytest.raises(InProgress):
        late.result()


def test_servers_that_start_together_print_one_first_key(database: Database) -> None:
    found = KeyService(database)

    def first(session: Session) -> None:
        keys.add(session, keys.team(session, "admin").id, ["admin"], "hash")

    assert overlapping(database, first, found.bootstrap).result() is None
    with database.reading() as session:
        assert len(session.scalars(select(ApiKey)).all()) == 1


def test_servers_that_start_together_migrate_one_after_the_other(postgres_url: str) -> None:
    """On SQLite the second is refused before: test_exclusive.py."""
    code = f"from app.store.database import Database; Database({postgres_url!r}).migrate()"
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(child.communicate()[1], child.returncode) for child in started] == [("", 0), ("", 0)]


def test_a_team_of_the_same_name_at_once_is_refused(database: Database, caller: Caller) -> None:
    late = overlapping(
        database,
        lambda session: teams.add(session, Team(name="b")),
        lambda: TeamService(database).create(caller, {"name": "b"}),
    )
    with pytest.raises(WrongState, match="'b' already"):
        late.result()


def test_keys_for_a_new_team_at_once_share_it(database: Database) -> None:
    late = overlapping(
        database, lambda session: keys.team(session, "b"), lambda: KeyService(database).create("b", "read")
    )
    assert late.result()


def test_a_profile_measured_twice_at_once_is_kept_once(database: Database, caller: Caller) -> None:
    queue = PlanWorkQueue(database)
    asked = {"model": "m", "budget_bytes": 1}
    with database.transaction() as session:
        plan = plans.add(session, plans.Plan(team_id=caller.team_id, request=asked)).id
        assert plans.claim(session, 60)
    measured = {"fingerprint": "f", "device": "cpu", "document": {"value": 2}}
    overlapping(
        database,
        lambda session: [plans.put_profile(session, "f", "cpu", {"value": 1}), session.flush()],
        lambda: queue.finish(plan, {"status": "failed", "profile": measured}),
    ).result()
    with database.reading() as session:
        assert [found.document for found in session.scalars(select(Profile))] == [{"value": 2}]
