"""Planning on a GPU holds a reservation there: jobs wait for it, and it waits for room."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.executors.base import DeviceReading
from app.models import Attempt, Device, Job, JobStatus, Plan, Team
from app.queue import devices
from app.queue.ledger import Ledger
from app.queue.planning import planning_bytes, planning_lives, reservation_of_plan, reserve
from app.queue.policy import Rules, Waiting, decide
from app.services.plans import PlanWorkQueue
from app.settings import Settings
from app.store import attempts, plans, queue
from app.store.database import Database

GIB = 2**30


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """One GPU of 8 GiB, a team, and no job."""
    made = Database(f"sqlite:///{tmp_path / 'a.db'}")
    made.migrate()
    with made.transaction() as session:
        session.add(Team(id="t", name="team"))
        session.add(Device(id="gpu", worker="here", kind="cuda", name="cuda:0", capacity_bytes=8 * GIB))
        session.add(Device(id="cpu", worker="here", kind="cpu", name="cpu", capacity_bytes=8 * GIB))
    yield made
    made.close()


def ask(session: Session, name: str, budget_bytes: int, **request: str) -> Plan:
    return plans.add(session, Plan(id=name, team_id="t", request={"budget_bytes": budget_bytes, **request}))


def hold(session: Session, num_bytes: int) -> None:
    """A running job that has so much of the GPU."""
    session.add(Job(id="job", team_id="t", request={"model": "m"}, budget_bytes=num_bytes, status=JobStatus.RUNNING))
    session.flush()
    session.add(Attempt(job_id="job", epoch=1, token_hash="", device_id="gpu", is_live=True, reserved_bytes=num_bytes))
    session.flush()


def test_a_plan_that_is_made_takes_its_budget_from_the_jobs_and_gives_it_back(database: Database) -> None:
    work = PlanWorkQueue(database, {"cpu", "cuda"}, "here")
    with database.transaction() as session:
        ask(session, "p", 6 * GIB)
    taken = work.take()
    assert taken is not None
    assert (taken[1]["reserved"]["place"], taken[1]["reserved"]["num_bytes"]) == ("here/cuda:0", 6 * GIB)
    now = time.time()
    with database.transaction() as session:
        assert planning_bytes(session, now) == {"gpu": 6 * GIB}
        gpus = [device for device in Ledger(Rules()).devices(queue.devices(session)) if device.kind == "cuda"]
        job = Waiting("j", "t", now, 3 * GIB, 3 * GIB, kind="cuda")
        assert decide(now, gpus, {}, planning_lives(session, now), [job], {}, Rules()).starts == ()
        assert decide(now, gpus, {}, [], [job], {}, Rules()).starts != ()
        assert planning_bytes(session, now + 3600) == {}  # its worker died
    work.finish("p", {"status": "infeasible", "reason": None})
    with database.transaction() as session:
        assert planning_bytes(session, now) == {}


def test_planning_waits_for_room_and_needs_less_than_its_budget(database: Database) -> None:
    with database.transaction() as session:
        hold(session, 15 * GIB // 2)
        plan = ask(session, "p", 6 * GIB)
        assert not reserve(session, plan, "here")
        assert plan.reason is not None
        assert plan.reason["message"] == "planning needs 1,024 MiB of a GPU; cuda:0 has 512 MiB free"
        small = ask(session, "small", GIB // 4)
        assert reserve(session, small, "here")
        ((attempt, _),) = attempts.live(session)
        attempt.reserved_bytes = 4 * GIB
        assert reserve(session, plan, "here")
        reserved = reservation_of_plan(plan)
        assert reserved is not None
        assert reserved.num_bytes == 4 * GIB


def test_a_plan_without_room_lets_the_next_one_pass(database: Database) -> None:
    work = PlanWorkQueue(database, {"cpu", "cuda"}, "here")
    with database.transaction() as session:
        hold(session, 8 * GIB)
        ask(session, "large", GIB)
        ask(session, "on_cpu", GIB, device="cpu")
    taken = work.take()
    assert taken is not None
    assert (taken[0], taken[1]["reserved"]) == ("on_cpu", None)
    assert work.take() is None
    work.release("on_cpu")
    assert work.take() is not None


def test_a_worker_without_gpus_of_its_own_reserves_nothing(database: Database) -> None:
    with database.transaction() as session:
        plan = ask(session, "p", GIB)
        assert reserve(session, plan, "elsewhere")
        assert reservation_of_plan(plan) is None


def test_the_process_that_plans_is_no_stranger_on_its_device(database: Database) -> None:
    reading = DeviceReading("here", "cuda", "cuda:0", 8 * GIB, used_bytes=3 * GIB, used_by_pid={7: 3 * GIB})
    with database.transaction() as session:
        for planned, others in (({}, 3 * GIB), ({"gpu": 2 * GIB}, GIB)):
            rows = devices.refresh(session, [reading], [], Settings(), time.time(), planned)
            gpu = next(row for row in rows if row.id == "gpu")
            assert gpu.baseline_bytes + gpu.used_by_others_bytes == others
