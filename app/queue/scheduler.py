"""The loop of the queue: stop what was asked to stop, find processes that are gone, start what fits.

A job starts when its budget fits what the live attempts leave of the capacity: jobs share a device because their peaks
are known. An attempt starts under a new epoch, in a transaction; a process of an older epoch is refused by the service,
so a job ends exactly once whatever was killed when.
"""

from __future__ import annotations

import logging
import secrets
import sys
import threading
import time
from pathlib import Path

import psutil
from sqlalchemy.orm import Session

from app.executors.base import Executor
from app.models.tables import Job, JobStatus
from app.services.jobs import job_folder
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
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """Stop ticking; running jobs go on."""
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(self.settings.poll_s):
            try:
                self.tick()
            except Exception:  # the loop's boundary: one bad tick must not stop the queue
                log.exception("the scheduler's tick failed; it tries again")

    def tick(self) -> None:
        """One round."""
        with self.database.transaction() as session:
            for job in jobs.active(session):
                self._look_after(session, job)
            free = self.capacity_bytes - attempts.reserved_bytes(session)
            for job in jobs.waiting(session):
                if job.budget_bytes <= free:
                    self._launch(session, job)
                    free -= job.budget_bytes
                else:
                    job.reason = {
                        "code": "waiting_for_memory",
                        "message": f"needs {format_bytes(job.budget_bytes)}, {format_bytes(max(free, 0))} are free",
                        "details": {"needs_bytes": job.budget_bytes, "free_bytes": max(free, 0)},
                    }

    def _look_after(self, session: Session, job: Job) -> None:
        attempt = attempts.current(session, job)
        handle = attempt.handle if attempt else None
        if job.status in (JobStatus.CANCELLING, JobStatus.PAUSING):
            if handle:
                self.executor.kill(handle)
            if attempt:
                attempts.end(attempt, job.status)
            is_cancel = job.status == JobStatus.CANCELLING
            job.status = JobStatus.CANCELLED if is_cancel else JobStatus.PAUSED
            job.ended_at = time.time() if is_cancel else None
            jobs.add_event(session, job, job.status, {})
        elif attempt and handle and "pid" in handle and not self.executor.is_alive(handle):
            attempts.end(attempt, "process gone")
            job.infra_retries += 1
            reason = {
                "code": "process_gone",
                "message": f"the process of attempt {attempt.epoch} ended without a word",
                "details": {"attempt": attempt.epoch, "log": f"attempt-{attempt.epoch}.log"},
            }
            is_over = job.infra_retries > self.settings.max_infra_retries
            job.status = JobStatus.FAILED if is_over else JobStatus.QUEUED
            job.reason, job.ended_at = reason, time.time() if is_over else None
            jobs.add_event(session, job, job.status, {"reason": reason})

    def _launch(self, session: Session, job: Job) -> None:
        token = secrets.token_hex(24)
        attempt = attempts.start(session, job, digest(token))
        folder: Path = job_folder(self.settings.data_dir, job.id)
        command = [sys.executable, "-m", "app.runner", "--attempt", attempt.id, "--url", self.settings.public_url]
        command += ["--output", str((folder / "output").resolve())]
        handle = self.executor.launch(command, token, folder / f"attempt-{attempt.epoch}.log")
        attempt.handle = handle
        job.status, job.reason = JobStatus.RUNNING, None
        job.started_at = job.started_at or time.time()
        jobs.add_event(session, job, "started", {"pid": handle.get("pid")})
