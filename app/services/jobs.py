"""Jobs as their owners see them: submit, look, cancel, pause, resume, events, artifacts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from app.errors import NotFound, WrongState
from app.models.tables import ENDED, Job, JobStatus
from app.services.keys import Caller
from app.store import jobs
from app.store.database import Database

PRIORITIES = {"low": 0, "normal": 1, "high": 2}


def job_folder(data_dir: Path, job_id: str) -> Path:
    """Where a job's files are."""
    return data_dir / "jobs" / job_id


def document(job: Job) -> dict[str, Any]:
    """A job as the API shows it."""
    return {
        "id": job.id,
        "status": job.status,
        "request": job.request,
        "budget_bytes": job.budget_bytes,
        "reason": job.reason,
        "phases": job.phases,
        "report": job.report,
        "attempts": job.current_epoch,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }


class JobService:
    """Everything a key's holder can do with jobs. A job of another team is NotFound."""

    def __init__(self, database: Database, data_dir: Path) -> None:
        self.database, self.data_dir = database, data_dir

    def submit(self, caller: Caller, request: dict[str, Any], budget_bytes: int, priority: str) -> dict[str, Any]:
        """Queue a job."""
        with self.database.transaction() as session:
            job = Job(
                team_id=caller.team_id,
                request={**request, "budget_bytes": budget_bytes},
                budget_bytes=budget_bytes,
                priority=PRIORITIES[priority],
                reason={"code": "waiting", "message": "waits for the scheduler", "details": {}},
            )
            jobs.add(session, job)
            jobs.add_event(session, job, "queued", {"budget_bytes": budget_bytes})
            return document(job)

    def get(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """One job."""
        with self.database.transaction() as session:
            return document(self._find(session, caller, job_id))

    def listed(self, caller: Caller, status: str | None, limit: int, after: str | None) -> dict[str, Any]:
        """A page of jobs, newest first, and the cursor of the next."""
        with self.database.transaction() as session:
            found = jobs.listed(session, caller.visible_team, status, limit + 1, after)
            page = found[:limit]
            more = len(found) > limit
            return {"items": [document(job) for job in page], "next": page[-1].id if more else None}

    def cancel(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Stop a job for good; one that has ended is WrongState."""
        return self._ask(caller, job_id, JobStatus.CANCELLING, JobStatus.CANCELLED)

    def pause(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Stop a job so that it can go on from its last checkpoint."""
        return self._ask(caller, job_id, JobStatus.PAUSING, JobStatus.PAUSED)

    def resume(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """Queue a paused job again."""
        with self.database.transaction() as session:
            job = self._find(session, caller, job_id)
            if job.status != JobStatus.PAUSED:
                raise WrongState(f"only a paused job can be resumed; {job_id} is {job.status}")
            job.status = JobStatus.QUEUED
            jobs.add_event(session, job, "queued", {})
            return document(job)

    def _ask(self, caller: Caller, job_id: str, while_live: JobStatus, at_once: JobStatus) -> dict[str, Any]:
        with self.database.transaction() as session:
            job = self._find(session, caller, job_id)
            if job.status in ENDED:
                raise WrongState(f"{job_id} has ended: it is {job.status}")
            if job.status in (JobStatus.QUEUED, JobStatus.PAUSED):
                job.status = at_once
                job.ended_at = time.time() if at_once in ENDED else None
            else:
                job.status = while_live
            jobs.add_event(session, job, job.status, {})
            return document(job)

    def events(self, caller: Caller, job_id: str, after: int) -> tuple[list[dict[str, Any]], bool]:
        """(events above `after`, whether the job has ended)."""
        with self.database.transaction() as session:
            job = self._find(session, caller, job_id)
            found = [
                {"seq": e.seq, "type": e.type, "at": e.at, "attempt": e.epoch, **e.payload}
                for e in jobs.events(session, job_id, after)
            ]
            return found, job.status in ENDED

    def artifacts(self, caller: Caller, job_id: str) -> list[dict[str, Any]]:
        """Names, sizes and checksums of a job's files."""
        with self.database.transaction() as session:
            self._find(session, caller, job_id)
            return [
                {"name": a.name, "num_bytes": a.num_bytes, "sha256": a.sha256} for a in jobs.artifacts(session, job_id)
            ]

    def artifact_path(self, caller: Caller, job_id: str, name: str) -> Path:
        """A file of a job; only names that were stored are answered, so no path can be made up."""
        if name not in {a["name"] for a in self.artifacts(caller, job_id)}:
            raise NotFound(f"job {job_id} has no artifact {name!r}")
        return job_folder(self.data_dir, job_id) / "artifacts" / name

    @staticmethod
    def _find(session: Any, caller: Caller, job_id: str) -> Job:
        job = jobs.find(session, job_id, caller.visible_team)
        if job is None:
            raise NotFound(f"no job {job_id}")
        return job
