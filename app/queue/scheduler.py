"""The loop of the queue: look after what runs, decide, claim what may start in one transaction, launch it.

One scheduler leads, by a lease that is renewed in the transaction of every claim: one that was replaced claims nothing.
An attempt starts under a new epoch; a process of an older epoch is refused by the service, so a job ends exactly once
whatever was killed when.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import psutil
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.executors.base import DeviceReading, Executor
from app.executors.supervisor import Supervisor
from app.models.tables import JobStatus
from app.queue import devices
from app.queue.ledger import Ledger
from app.queue.planning import planning_bytes, planning_lives
from app.queue.policy import Decision, Front, Rules, Wait, decide
from app.services.jobs import PREEMPTED
from app.services.keys import digest
from app.settings import Settings
from app.store import attempts, jobs, leases, queue
from app.store.database import Database

log = logging.getLogger(__name__)
LEADER = leases.SCHEDULER
REASONS = 200  # that a pass writes
EXPLAIN_S = 5.0  # a reason whose numbers move is written again after so long


class Scheduler:
    """Ticks every `settings.poll_s` in a thread of its own."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        executor: Executor,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database, self.settings, self.executor, self.clock = database, settings, executor, clock
        self.supervisor = Supervisor(database, settings, executor)
        self.rules = rules or Rules()
        self.ledger = Ledger(self.rules)
        # SQLite has one server, so a restarted one is the holder at once.
        this_process = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.holder = "sqlite" if database.url.startswith("sqlite") else this_process
        self._token: int | None = None
        self._fronts: Mapping[str, Front] = {}
        self._written: dict[str, tuple[str, str, int | None, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Start and settle nothing more: what ends from here on ends with the service."""
        self.supervisor.is_stopping.set()
        self._stop.set()

    def stop(self) -> None:
        """Stop ticking. Running jobs go on, or end with a checkpoint where the settings say so (`stop_jobs`)."""
        self.begin_stop()
        self._thread.join(10)
        if self._token is not None:
            with contextlib.suppress(SQLAlchemyError), self.database.transaction() as session:
                if self._is_leader(session):
                    attempts.note_stop(session, self.clock())
            if self.settings.stop_jobs:
                self.supervisor.stop_jobs()
        self.supervisor.close()
        with contextlib.suppress(SQLAlchemyError), self.database.transaction() as session:
            leases.release(session, LEADER, self.holder, time.time())

    def _run(self) -> None:
        while not self._stop.wait(self.settings.poll_s):
            try:
                self.tick()
            except Exception:  # the loop's boundary: one bad tick must not stop the queue
                log.exception("the scheduler's tick failed; it tries again")

    def _lead(self) -> bool:
        """Hold the leader's lease; who gets it adopts what runs."""
        with self.database.transaction() as session:
            token = leases.acquire(session, LEADER, self.holder, self.settings.leader_s, time.time())
        if token is not None and token != self._token:
            self.supervisor.adopt()
        self._token = token
        return token is not None

    def tick(self) -> None:
        """One round of the leader: look after what runs, claim what fits at once, launch what was claimed."""
        if not self._lead():
            return
        self.supervisor.round()
        readings = self._readings()
        with self.database.transaction() as session:
            if not self._is_leader(session):
                return
            claimed = self._pass(session, readings)
        self.supervisor.start(claimed)

    def _is_leader(self, session: Session) -> bool:
        """Whether this is still the holder, under the token it got; the lease is locked until the commit."""
        is_held = leases.renew(session, LEADER, self.holder, self.settings.leader_s, time.time())
        return is_held and leases.current(session, LEADER)[1] == self._token

    def _readings(self) -> Sequence[DeviceReading]:
        """What the executor measures; the machine's own memory where it has no device. Nothing while it hangs."""
        readings = self.supervisor.devices.read()
        if readings is None:  # its devices count as gone until they answer: nothing is started on them
            return []
        capacity = self.settings.capacity_bytes or psutil.virtual_memory().total // 2
        return readings or [DeviceReading(socket.gethostname(), "cpu", "cpu", capacity)]

    def _pass(self, session: Session, readings: Sequence[DeviceReading]) -> list[tuple[str, str]]:
        """Decide, claim, and write why the others wait: (attempt, token) of what was claimed."""
        now = self.clock()
        live = attempts.live(session)
        planned = planning_bytes(session, now)
        rows = devices.refresh(session, readings, [attempt for attempt, _ in live], self.settings, now, planned)
        waiting = self.ledger.waiting(session, rows)
        lives = [*self.ledger.lives(session, live, rows, now), *planning_lives(session, now)]
        teams = self.ledger.teams(session, lives, now)
        made = decide(now, self.ledger.devices(rows), teams, lives, waiting, self._fronts, self.rules)
        self._fronts = made.fronts
        self._preempt(session, made)
        self._explain(session, made.waits, now)
        return self._claim(session, made)

    def _claim(self, session: Session, made: Decision) -> list[tuple[str, str]]:
        claimed = []
        for start in made.starts:
            job = queue.lock_queued(session, start.job_id)
            if job is None:  # cancelled or paused since it was read
                continue
            token = secrets.token_hex(24)
            attempt = attempts.claim(
                session,
                job,
                digest(token),
                reserved_bytes=start.num_bytes,
                device_id=start.device_id,
                lease_s=self.settings.lease_s,
            )
            self._written.pop(job.id, None)
            claimed.append((attempt.id, token))
        return claimed

    def _preempt(self, session: Session, made: Decision) -> None:
        for stop in made.preempts:
            job = queue.lock_running(session, stop.job_id)
            if job is None:
                continue
            job.status = JobStatus.PAUSING
            message = "stopped at its last checkpoint for a job of a higher class; it is queued again"
            job.reason = {"code": PREEMPTED, "message": message, "details": {"device": stop.device_id}}
            jobs.add_event(session, job, PREEMPTED, {"reason": job.reason})

    def _explain(self, session: Session, waits: Mapping[str, Wait], now: float) -> None:
        """Write what changed: code, message and position at once, numbers that move every EXPLAIN_S.

        At most REASONS a pass, those that were written longest ago first, so that a pass stays short.
        """
        due = []
        for job_id, wait in waits.items():
            old = self._written.get(job_id)
            is_same = old is not None and old[:3] == (wait.code, wait.message, wait.position)
            if not (is_same and old is not None and now - old[3] < EXPLAIN_S):
                due.append((old[3] if old is not None else 0.0, job_id))
        due.sort(key=lambda pair: pair[0])
        explained = []
        for _, job_id in due[:REASONS]:
            wait = waits[job_id]
            self._written[job_id] = (wait.code, wait.message, wait.position, now)
            reason = {
                "code": wait.code,
                "message": wait.message,
                "details": {**wait.details, "position": wait.position, "eta_at": wait.eta_at},
            }
            explained.append(queue.Waited(job_id, reason, wait.position, wait.eta_at))
        queue.explain(session, explained)
        for job_id in self._written.keys() - waits.keys():
            del self._written[job_id]
