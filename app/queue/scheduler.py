"""The loop of the queue: stop what was asked to stop, find processes that are gone, start what fits.

A job starts when its budget fits what the live attempts leave of the capacity: jobs share a device because their peaks
are known. An attempt starts under a new epoch, in a transaction; a process of an older epoch is refused by the service,
so a job ends exactly once whatever was killed when.
"""

from __future__ import annotations

import logging
import secrets
import threading

import psutil

from app.executors.base import Executor
from app.executors.supervisor import Supervisor
from app.services.keys import digest
from app.settings import Settings
from app.store import attempts, jobs
from app.store.database import Database
from s2a_core.sizes import format_bytes

log = logging.getLogger(__name__)


class Scheduler:
    """Ticks every `settings.poll_s` in a thread of its own."""

    def __init__(self, database: Database, settings: Settings, executor: Executor) -> None:
        self.database, self.settings, self.executor = database, settings, executor
        self.capacity_bytes = settings.capacity_bytes or psutil.virtual_memory().total // 2
        self.supervisor = Supervisor(database, settings, executor)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Adopt what runs, then begin to tick."""
        self.supervisor.adopt()
        self._thread.start()

    def stop(self) -> None:
        """Stop ticking; running jobs go on."""
        self._stop.set()
        self._thread.join(10)
        self.supervisor.close()

    def _run(self) -> None:
        while not self._stop.wait(self.settings.poll_s):
            try:
                self.tick()
            except Exception:  # the loop's boundary: one bad tick must not stop the queue
                log.exception("the scheduler's tick failed; it tries again")

    def tick(self) -> None:
        """One round: look after what runs, claim what fits in one transaction, then launch what was claimed."""
        self.supervisor.round()
        claimed: list[tuple[str, str]] = []
        with self.database.transaction() as session:
            free = self.capacity_bytes - attempts.reserved_bytes(session)
            for job in jobs.waiting(session):
                if job.budget_bytes <= free:
                    token = secrets.token_hex(24)
                    attempt = attempts.claim(session, job, digest(token), lease_s=self.settings.lease_s)
                    claimed.append((attempt.id, token))
                    free -= attempt.reserved_bytes
                else:
                    job.reason = {
                        "code": "waiting_for_memory",
                        "message": f"needs {format_bytes(job.budget_bytes)}, {format_bytes(max(free, 0))} are free",
                        "details": {"needs_bytes": job.budget_bytes, "free_bytes": max(free, 0)},
                    }
        for attempt_id, token in claimed:
            self.supervisor.launch(attempt_id, token)
