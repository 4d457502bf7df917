"""What a job's process may do: each call carries its attempt's token; an attempt that is not current is refused."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from pathlib import Path
from typing import Any

from app.errors import NotAuthorized, StaleAttempt
from app.models.tables import Attempt, Job, JobStatus
from app.services.jobs import job_folder
from app.services.keys import digest
from app.store import attempts, jobs
from app.store.database import Database
from s2a_core.errors import InvalidInput

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
STOP = (JobStatus.CANCELLING, JobStatus.PAUSING)


class RunService:
    """The service's side of a running attempt."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self.database, self.data_dir = database, data_dir

    def _current(self, session: Any, attempt_id: str, token: str | None) -> tuple[Job, Attempt]:
        attempt = attempts.find(session, attempt_id)
        if attempt is None or not hmac.compare_digest(attempt.token_hash, digest(token or "")):
            raise NotAuthorized("this token is not that attempt's")
        job = jobs.find(session, attempt.job_id)
        if job is None or not attempt.is_live or attempt.epoch != job.current_epoch:
            raise StaleAttempt(f"attempt {attempt_id} is over: stop")
        attempt.heartbeat_at = time.time()
        return job, attempt

    def request(self, attempt_id: str, token: str | None) -> dict[str, Any]:
        """What to run; `resume` from the second attempt on."""
        with self.database.transaction() as session:
            job, attempt = self._current(session, attempt_id, token)
            return {"job_id": job.id, "request": job.request, "resume": attempt.epoch > 1}

    def heartbeat(self, attempt_id: str, token: str | None) -> dict[str, Any]:
        """Say that the process lives; the answer says whether it should stop."""
        with self.database.transaction() as session:
            job, _ = self._current(session, attempt_id, token)
            return {"stop": job.status in STOP}

    def events(self, attempt_id: str, token: str | None, first: int, batch: list[dict[str, Any]]) -> None:
        """Append events. `first` counts the attempt's events, so a batch that is sent twice is stored once."""
        with self.database.transaction() as session:
            job, attempt = self._current(session, attempt_id, token)
            handle = dict(attempt.handle or {})
            known = int(handle.get("events", 0))
            for event in batch[max(0, known - first) :]:
                if event["type"] == "phase":
                    job.phases = phases_with(job.phases, event["payload"])
                jobs.add_event(session, job, event["type"], event["payload"])
            attempt.handle = {**handle, "events": max(known, first + len(batch))}

    def artifact(self, attempt_id: str, token: str | None, name: str, content: bytes) -> None:
        """Store a file of the job, whole or not at all."""
        if not NAME.fullmatch(name):
            raise InvalidInput(f"an artifact cannot be called {name!r}", details={"allowed": NAME.pattern})
        with self.database.transaction() as session:
            job, _ = self._current(session, attempt_id, token)
            folder = job_folder(self.data_dir, job.id) / "artifacts"
            folder.mkdir(parents=True, exist_ok=True)
            part = folder / f".{name}.part"
            part.write_bytes(content)
            part.replace(folder / name)
            jobs.put_artifact(session, job.id, name, len(content), hashlib.sha256(content).hexdigest())

    def finish(self, attempt_id: str, token: str | None, status: str, reason: Any, report: Any) -> None:
        """The last word of an attempt: its job has ended."""
        with self.database.transaction() as session:
            job, attempt = self._current(session, attempt_id, token)
            job.status, job.reason, job.report, job.ended_at = status, reason, report, time.time()
            job.phases = phases_with(job.phases, None)
            attempts.end(attempt, status)
            jobs.add_event(session, job, status, {"reason": reason} if reason else {})


def phases_with(phases: list[dict[str, Any]], started: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The list with its open phase closed and, if given, a new one opened."""
    at = time.time()
    closed = [{**phase, "ended_at": phase.get("ended_at") or at} for phase in phases]
    if started is None:
        return closed
    name = str(started.get("phase") or started.get("name") or "running")
    return [*closed, {"name": name, "started_at": at, "ended_at": None}]
