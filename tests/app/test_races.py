"""Two requests at one moment, on both kinds of database: the second waits for the first one's end and follows it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import InProgress, NotFound, WrongState
from app.models import ApiKey, Attempt, Dataset, Job, Profile, Team, Webhook
from app.services.datasets import DatasetService
from app.services.idempotency import IdempotencyService
from app.services.jobs import JobService
from app.services.keys import Caller, KeyService
from app.services.models import ModelCatalog
from app.services.plans import PlanService, PlanWorkQueue
from app.services.sealing import Sealer
from app.services.teams import TeamService
from app.services.webhooks import WebhookService
from app.settings import Settings
from app.store import attempts, datasets, idempotency, jobs, keys, plans, sessions, teams, webhooks
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
    assert queue.take()
    measured = {"fingerprint": "f", "device": "cpu", "document": {"value": 2}}
    overlapping(
        database,
        lambda session: [plans.put_profile(session, "f", "cpu", {"value": 1}), session.flush()],
        lambda: queue.finish(plan, {"status": "failed", "profile": measured}),
    ).result()
    with database.reading() as session:
        assert [found.document for found in session.scalars(select(Profile))] == [{"value": 2}]


@pytest.fixture
def job(database: Database, caller: Caller) -> str:
    with database.transaction() as session:
        return jobs.add(session, Job(team_id=caller.team_id, request={"model": "m"}, budget_bytes=1)).id


def test_a_service_that_stops_loses_no_count_of_a_running_attempt_s_events(database: Database, job: str) -> None:
    """Where the count went back, the runner's next batch would be refused for ever."""

    def events(session: Session) -> None:
        attempt = attempts.find(session, attempt_id)
        assert attempt is not None
        assert jobs.find(session, attempt.job_id)
        attempt.handle = {"events": 7}
        session.flush()

    def stop() -> None:
        with database.transaction() as session:
            attempts.note_stop(session, 5.0)

    with database.transaction() as session:
        row = jobs.find(session, job)
        assert row is not None
        attempt_id = attempts.claim(session, row, "hash").id
    overlapping(database, events, stop).result()
    with database.reading() as session:
        assert session.get_one(Attempt, attempt_id).handle == {"events": 7, "service_stopped_at": 5.0}


@pytest.fixture
def webhook(database: Database, caller: Caller) -> str:
    with database.transaction() as session:
        hook = Webhook(team_id=caller.team_id, url="https://e.org/", secret="s", events=["queued"])
        return webhooks.add(session, hook).id


def owe(session: Session, job_id: str) -> None:
    """An event of the job, which its team's webhook wants."""
    row = jobs.find(session, job_id)
    assert row is not None
    jobs.add_event(session, row, "queued", {})
    session.flush()


def test_a_webhook_is_removed_while_an_event_comes_for_it(
    database: Database, caller: Caller, job: str, webhook: str, tmp_path: Path
) -> None:
    service = WebhookService(database, Sealer(tmp_path), allow_private=False)
    overlapping(database, lambda session: owe(session, job), lambda: service.remove(caller, webhook)).result()
    with database.reading() as session:
        assert webhooks.find(session, webhook, None) is None


def test_an_event_comes_while_the_webhook_it_was_for_is_removed(database: Database, job: str, webhook: str) -> None:
    def remove(session: Session) -> None:
        webhooks.remove(session, session.get_one(Webhook, webhook))
        session.flush()

    def event() -> None:
        with database.transaction() as session:
            owe(session, job)

    overlapping(database, remove, event).result()
    with database.reading() as session:
        assert [event.type for event in jobs.events(session, job, 0)] == ["queued"]


def test_a_session_that_is_signed_out_twice_at_once_has_ended(database: Database) -> None:
    def sign_out(session: Session) -> None:
        sessions.end(session, "nonce", 2e9, 1e9)
        session.flush()

    def again() -> None:
        with database.transaction() as session:
            sign_out(session)

    overlapping(database, sign_out, again).result()
    with database.reading() as session:
        assert sessions.is_ended(session, "nonce")


@pytest.fixture
def services(database: Database, tmp_path: Path) -> tuple[DatasetService, JobService]:
    datasets_ = DatasetService(database, Settings(data_dir=tmp_path))
    models = ModelCatalog(tmp_path)
    return datasets_, JobService(database, datasets_, models, PlanService(database, datasets_, models))


@pytest.fixture
def dataset(database: Database, caller: Caller) -> str:
    source = {"kind": "hub", "source": "digits"}
    with database.transaction() as session:
        made = Dataset(team_id=caller.team_id, name="d", source=source, status="ready", reason=None)
        return datasets.add(session, made).id


Services = tuple[DatasetService, JobService]


def test_a_dataset_is_not_removed_while_a_job_is_submitted_on_it(
    database: Database, caller: Caller, services: Services, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal comes after the dataset was looked up and before the job is there."""
    late: list[Future[Any]] = []
    with ThreadPoolExecutor(1) as pool:

        def slow(session: Session, job: Job) -> None:
            late.append(pool.submit(services[0].remove, caller, dataset))
            wait(late, timeout=LATE_S)

        monkeypatch.setattr("app.services.jobs.require_place", slow)
        services[1].submit(caller, {"model": "s2a_tiny", "data": dataset}, 1)
    with pytest.raises(WrongState, match="is used by job_"):
        late[0].result()


def test_a_job_is_not_submitted_on_a_dataset_that_is_removed(
    database: Database, caller: Caller, services: Services, dataset: str
) -> None:
    def remove(session: Session) -> None:
        row = datasets.find(session, dataset, None)
        assert row is not None
        datasets.remove(session, row)
        session.flush()

    late = overlapping(database, remove, lambda: services[1].submit(caller, {"model": "s2a_tiny", "data": dataset}, 1))
    with pytest.raises(NotFound):
        late.result()
