"""Whatever happens in whatever order: no device is overbooked, no job runs twice, none is lost, none starves.

S2A_TEST_EXAMPLES stories of 25 steps each, ten by default, on each kind of database.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.executors.base import DeviceReading
from app.models import Base, Job, JobStatus, Team
from app.queue.policy import Rules
from app.queue.scheduler import LEADER, Scheduler
from app.services.runs import RunService
from app.settings import Settings
from app.store import attempts, jobs, leases, queue
from app.store.database import Database
from tests.app.conftest import PretendExecutor

MIB = 2**20
CAPACITIES = {"cpu": 100 * MIB, "cuda:0": 64 * MIB, "cuda:1": 64 * MIB}
RULES = Rules(preempt_after_s=0, min_run_s=0, front_s=0.05)
STRANGER = 99_999
EXAMPLES = int(os.environ.get("S2A_TEST_EXAMPLES", "10"))


class Queue(RuleBasedStateMachine):
    """Teams, processes, strangers and operators act at will on the scheduler of one database."""

    database: Database
    folder: Path
    submitted = Bundle("submitted")

    def __init__(self) -> None:
        super().__init__()
        with self.database.transaction() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(table.delete())
            session.add_all([Team(id=f"t{i}", name=f"team {i}", weight=i + 1, quota_jobs=4) for i in range(3)])
        self.settings = Settings(data_dir=self.folder, max_infra_retries=10**6, cuda_reserve_bytes=4 * MIB)
        self.executor = PretendExecutor()
        self.strangers = dict.fromkeys(CAPACITIES, 0)
        self.hidden: set[str] = set()
        self.runs = RunService(self.database, self.settings)
        self.schedulers = [self._scheduler()]
        self._measure()

    def _scheduler(self) -> Scheduler:
        return Scheduler(self.database, self.settings, self.executor, RULES)

    def _measure(self) -> None:
        self.executor.readings = [
            DeviceReading(
                "w",
                name.partition(":")[0],
                name,
                capacity,
                used_bytes=self.strangers[name],
                used_by_pid={STRANGER: self.strangers[name]} if self.strangers[name] else {},
            )
            for name, capacity in CAPACITIES.items()
            if name not in self.hidden
        ]

    @rule(
        target=submitted,
        team=st.integers(0, 2),
        size=st.integers(1, 60),
        priority=st.integers(0, 2),
        kind=st.sampled_from([None, "cpu", "cuda"]),
        is_planned=st.booleans(),
    )
    def submit(self, team: int, size: int, priority: int, kind: str | None, is_planned: bool) -> str:
        with self.database.transaction() as session:
            job = Job(team_id=f"t{team}", request={"model": "m"}, budget_bytes=size * MIB, priority=priority)
            job.device, job.planned_peak_bytes = kind, size * MIB // 2 if is_planned else None
            return jobs.add(session, job).id

    @rule(index=st.integers(0, 1))
    def tick(self, index: int) -> None:
        self.schedulers[index % len(self.schedulers)].tick()

    @rule(number=st.integers(0, 20))
    def a_process_vanishes(self, number: int) -> None:
        if alive := self._alive():
            self.executor.dead.add(alive[number % len(alive)]["pid"])

    @rule(number=st.integers(0, 20), status=st.sampled_from(["succeeded", "failed"]))
    def a_job_ends(self, number: int, status: str) -> None:
        if alive := self._alive():
            self._finish(alive[number % len(alive)], status)

    @rule(job=submitted, status=st.sampled_from([JobStatus.CANCELLING, JobStatus.PAUSING]))
    def an_owner_stops_it(self, job: str, status: JobStatus) -> None:
        at_once = {JobStatus.CANCELLING: JobStatus.CANCELLED, JobStatus.PAUSING: JobStatus.PAUSED}
        with self.database.transaction() as session:
            found = jobs.find(session, job)
            if found and found.status in (JobStatus.QUEUED, JobStatus.RUNNING):
                found.status = status if found.status == JobStatus.RUNNING else at_once[status]
                found.reason = {"code": "asked", "message": "", "details": {}}

    @rule(job=submitted)
    def an_owner_resumes_it(self, job: str) -> None:
        with self.database.transaction() as session:
            found = jobs.find(session, job)
            if found and found.status == JobStatus.PAUSED:
                found.status = JobStatus.QUEUED

    @rule(name=st.sampled_from(sorted(CAPACITIES)), size=st.integers(0, 80))
    def a_stranger_uses_a_device(self, name: str, size: int) -> None:
        self.strangers[name] = size * MIB
        self._measure()

    @rule(name=st.sampled_from(sorted(CAPACITIES)))
    def a_device_goes_and_comes(self, name: str) -> None:
        self.hidden ^= {name}
        self._measure()

    @rule()
    def the_service_is_killed_and_started_again(self) -> None:
        self._lease_of_the_dead_runs_out()
        self.schedulers[0] = self._scheduler()

    @rule()
    def a_second_server_joins(self) -> None:
        if len(self.schedulers) == 1:
            self.schedulers.append(self._scheduler())

    def _lease_of_the_dead_runs_out(self) -> None:
        with self.database.transaction() as session:
            leases.release(session, LEADER, self.schedulers[0].holder, time.time())

    def _alive(self) -> list[dict[str, Any]]:
        return [p for p in self.executor.launched if p["pid"] not in self.executor.dead]

    def _finish(self, process: dict[str, Any], status: str) -> None:
        with self.database.reading() as session:
            attempt = attempts.find(session, process["attempt"])
            is_current = attempt is not None and attempts.may_write(attempt)
        if is_current:
            self.runs.finish(process["attempt"], process["token"], status, None, None)
        self.executor.dead.add(process["pid"])

    @invariant()
    def the_ledger_adds_up(self) -> None:
        with self.database.reading() as session:
            live = attempts.live(session)
            for device in queue.devices(session):
                held = sum(a.reserved_bytes for a, _ in live if a.device_id == device.id)
                assert held <= device.capacity_bytes - device.reserve_bytes, f"{device.name} holds {held}"
            owners = [job.id for _, job in live]
            assert len(owners) == len(set(owners)), "a job has two live epochs"
            assert all(attempt.epoch == job.current_epoch for attempt, job in live)
            assert all(job.status != JobStatus.QUEUED for _, job in live)
            found, _ = jobs.listed(session, None, None, 10_000, None)
            running = {job.id for job in found if job.status in (JobStatus.RUNNING, JobStatus.PAUSING)}
            assert running <= set(owners), "a running job has no reservation"
        launched = [process["attempt"] for process in self.executor.launched]
        assert len(launched) == len(set(launched)), "an attempt was launched twice"
        assert len({p["attempt"] for p in self._alive()} - {a.id for a, _ in live}) == 0, "a process nobody pays for"

    def teardown(self) -> None:
        """Left alone, with every device back, the queue runs dry: nobody starves and every byte comes back."""
        self.strangers, self.hidden = dict.fromkeys(CAPACITIES, 0), set()
        self._measure()
        if len(self.schedulers) > 1:
            self._lease_of_the_dead_runs_out()
        with self.database.transaction() as session:
            found, _ = jobs.listed(session, None, None, 10_000, None)
            paused = {job.id for job in found if job.status in (JobStatus.PAUSED, JobStatus.PAUSING)}
        scheduler = self.schedulers[-1]
        for _ in range(3 * len(found) + 10):
            scheduler.tick()
            for process in self._alive():
                self._finish(process, "succeeded")
        scheduler.tick()
        with self.database.reading() as session:
            found, _ = jobs.listed(session, None, None, 10_000, None)
            left = {
                job.id: (job.status, job.reason) for job in found if job.status not in ENDED and job.id not in paused
            }
            assert not left, left
            assert attempts.live(session) == []
        for each in self.schedulers:
            each.supervisor.close()


ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Iterator[Callable[[], Queue]]:
    database = Database(database_url)
    database.migrate()
    yield type("Machine", (Queue,), {"database": database, "folder": tmp_path})
    database.close()


@pytest.mark.slow
@pytest.mark.timeout(60 + 48 * EXAMPLES)
def test_the_ledger_holds_whatever_happens(machine: Callable[[], Queue]) -> None:
    limits = settings(
        max_examples=EXAMPLES,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],  # every step is transactions: to make a failure smaller would take minutes
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=limits)
