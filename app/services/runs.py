"""What a job's process may do: each call carries its attempt's token and epoch; one that is not current is refused."""

from __future__ import annotations

import hmac
import re
import secrets
import time
from pathlib import Path
from typing import Any

from app.errors import NotAuthorized, NotFound, StaleAttempt
from app.executors.judgement import Fault
from app.models.tables import Attempt, AttemptState, Job, JobStatus
from app.private import private_folder
from app.runner.spool import LAST_WORD, read_spool, spool_path
from app.services.culprits import culprits
from app.services.datasets import weights_path
from app.services.jobs import job_folder
from app.services.keys import digest
from app.services.outcomes import brief, pair_of
from app.services.sources import data_access
from app.settings import Settings
from app.store import accuracy, attempts, jobs
from app.store.database import Database
from s2a_core.errors import InvalidInput

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
STOP = (JobStatus.CANCELLING, JobStatus.PAUSING)
TIGHTER = 0.05  # the least share of the budget that a plan gives up after it ran out of memory


class RunService:
    """The service's side of a running attempt."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings, self.data_dir = database, settings, settings.data_dir

    def check(self, attempt_id: str, token: str | None) -> None:
        """NotAuthorized without a token, NotFound for one that is not the attempt's."""
        with self.database.reading() as session:
            self._own(session, attempt_id, token)

    @staticmethod
    def _own(session: Any, attempt_id: str, token: str | None) -> Attempt:
        attempt = attempts.find(session, attempt_id)
        if attempt is None or not hmac.compare_digest(attempt.token_hash, digest(token or "")):
            if not token:
                raise NotAuthorized("send the attempt's token as `Authorization: Bearer ...`")
            raise NotFound("no such attempt for this token")
        return attempt

    def _current(
        self, session: Any, attempt_id: str, token: str | None, epoch: int | None = None
    ) -> tuple[Job, Attempt]:
        job = jobs.find(session, self._own(session, attempt_id, token).job_id)
        attempt = attempts.find(session, attempt_id)  # as it is now that the job's row is ours
        assert attempt is not None
        is_stale = job is None or not attempts.may_write(attempt) or attempt.epoch != job.current_epoch
        if job is None or is_stale or epoch not in (None, attempt.epoch):
            raise StaleAttempt(f"attempt {attempt_id} is over: stop", details={"epoch": attempt.epoch})
        attempts.renew(attempt, self.settings.lease_s, time.time())
        return job, attempt

    def request(self, attempt_id: str, token: str | None, epoch: int | None = None) -> dict[str, Any]:
        """What to run, and how often to say that it runs; `resume` from the second attempt on."""
        with self.database.transaction() as session:
            job, attempt = self._current(session, attempt_id, token, epoch)
            attempt.progress_at = time.time()
            budget, missed = self._room(session, job)
            weights = weights_path(self.data_dir, job.request.get("weights"))
            return {
                "job_id": job.id,
                "epoch": attempt.epoch,
                "request": {**job.request, "budget_bytes": budget, "weights": weights},
                "data_access": data_access(self.settings, job.team_id, job.request.get("data"), weights),
                "reserved_bytes": attempt.reserved_bytes,
                "missed_bytes": missed,
                "resume": attempt.epoch > 1,
                "is_tightened": budget < job.budget_bytes,
                "renew_s": self.settings.renew_s,
                "fence_s": self.settings.fence_s,
                "give_up_s": self.settings.give_up_s,
            }

    @staticmethod
    def _room(session: Any, job: Job) -> tuple[int, int]:
        """(budget, missed) after the attempts that ran out of their own memory.

        One whose cap was the whole budget: the next is planned with less, by what was missing and at least TIGHTER of
        the budget. One whose cap was its plan's peak: `missed` is what the next reserves above its plan's peak.
        """
        budget, missed, least = job.budget_bytes, 0, int(job.budget_bytes * TIGHTER)
        for verdict in attempts.verdicts(session, job.id, Fault.MEMORY):
            excess = max(int(verdict.get("excess_bytes") or 0), least)
            if int(verdict.get("cap_bytes") or budget) < budget:
                missed += excess
            else:
                budget -= excess
        return max(1, budget), missed

    def heartbeat(
        self,
        attempt_id: str,
        token: str | None,
        epoch: int | None = None,
        idle_s: float | None = None,
        use: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Say that the process lives, and since when its loop did nothing; the answer says whether it should end.

        stop: at once. pause: at its next step, with a checkpoint, from which the job goes on.
        """
        with self.database.transaction() as session:
            job, attempt = self._current(session, attempt_id, token, epoch)
            if idle_s is not None:
                attempt.progress_at = time.time() - max(0.0, idle_s)
            if use is not None:
                attempt.handle = {**(attempt.handle or {}), "use": use}
            stop, pause = job.status == JobStatus.CANCELLING, job.status == JobStatus.PAUSING
            return {"stop": stop, "pause": pause, "lease_s": self.settings.lease_s}

    def events(
        self, attempt_id: str, token: str | None, first: int, batch: list[dict[str, Any]], epoch: int | None = None
    ) -> None:
        """Append events. `first` counts the attempt's events, so a batch that is sent twice is stored once."""
        with self.database.transaction() as session:
            job, attempt = self._current(session, attempt_id, token, epoch)
            self._store(session, job, attempt, first, batch)

    def _store(self, session: Any, job: Job, attempt: Attempt, first: int, batch: list[dict[str, Any]]) -> None:
        handle = dict(attempt.handle or {})
        known = int(handle.get("events", 0))
        if first > known:
            raise InvalidInput(f"events {known} to {first - 1} are missing: send them first", details={"next": known})
        fresh = [event for event in batch[known - first :] if event["type"] != LAST_WORD]
        for event in fresh:
            kind, payload = event["type"], event["payload"]
            if kind == "phase":
                job.phases = phases_with(job.phases, payload, event.get("at"))
            elif kind == "checkpoint":
                attempts.add_checkpoint(session, attempt, payload)
            elif kind == "resumed":
                step = int(payload.get("step") or 0)
                if step > attempts.furthest_resume(session, job.id):  # the attempts before got somewhere
                    job.infra_retries = 0
                attempt.resumed_from_step = step
            elif kind == "reservation" and attempts.may_write(attempt):
                job.planned_peak_bytes = int(payload["planned_peak_bytes"])
                attempts.shrink(attempt, job, int(payload["reserved_bytes"]), time.time())
        attempts.add_events(session, job, attempt.epoch, fresh)
        attempts.put_metrics(session, job.id, fresh)
        attempt.handle = {**handle, "events": max(known, first + len(batch))}

    def part(self, attempt_id: str, token: str | None, name: str, epoch: int | None = None) -> Path:
        """Where a file of the job is received, a place of this request's own; `artifact` then stores it."""
        if not NAME.fullmatch(name):
            raise InvalidInput(f"an artifact cannot be called {name!r}", details={"allowed": NAME.pattern})
        with self.database.transaction() as session:
            job, _ = self._current(session, attempt_id, token, epoch)
            folder = job_folder(self.data_dir, job.id) / "artifacts"
        private_folder(folder)
        return folder / f".{name}.{secrets.token_hex(4)}.part"

    def artifact(
        self, attempt_id: str, token: str | None, part: Path, name: str, sha256: str, epoch: int | None = None
    ) -> None:
        """Store a file that was received whole, in the place of an older one of its name."""
        with self.database.transaction() as session:
            job, _ = self._current(session, attempt_id, token, epoch)
            size = part.stat().st_size
            part.replace(part.with_name(name))
            jobs.put_artifact(session, job.id, name, size, sha256)

    def finish(
        self,
        attempt_id: str,
        token: str | None,
        status: str,
        reason: Any,
        report: Any,
        epoch: int | None = None,
        verdict: dict[str, Any] | None = None,
    ) -> None:
        """The last word of an attempt: its job has ended, or goes on in another attempt when the verdict allows it."""
        with self.database.transaction() as session:
            job, attempt = self._current(session, attempt_id, token, epoch)
            self._finish(session, job, attempt, {"status": status, "reason": reason, "report": report}, verdict)

    def _finish(
        self, session: Any, job: Job, attempt: Attempt, word: dict[str, Any], verdict: dict[str, Any] | None
    ) -> None:
        status, reason = word["status"], word["reason"]
        attempts.silence(attempt, AttemptState.ENDED, status)
        if verdict is not None:
            attempt.verdict = self._judged(session, job, attempt, {**verdict, "reason": reason})
            if attempt.verdict.get("fault"):
                return  # the supervisor settles it once the process is gone
        if status != JobStatus.SUCCEEDED and job.status in STOP:
            return
        job.status, job.reason, job.report, job.ended_at = status, reason, brief(word["report"]), time.time()
        if pair := pair_of(job, word["report"] or {}):
            accuracy.add(session, pair)
        job.phases = phases_with(job.phases, None)
        jobs.add_event(session, job, status, {"reason": reason} if reason else {})

    @staticmethod
    def _judged(session: Any, job: Job, attempt: Attempt, verdict: dict[str, Any]) -> dict[str, Any]:
        """The verdict with what took the memory: jobs of the team by their ids, others by their bytes only."""
        if verdict.get("fault") != Fault.NEIGHBOUR:
            return verdict
        lives = [pair for pair in attempts.live(session, attempt.device_id) if pair[0].id != attempt.id]
        others = [(other, owner.id if owner.team_id == job.team_id else None) for other, owner in lives]
        return {**verdict, "culprits": culprits(verdict, others)}

    def drain(self, attempt_id: str) -> None:
        """Store what an attempt wrote to its spool and could not send. Its process is gone, so nothing is added."""
        with self.database.transaction() as session:
            attempt = attempts.find(session, attempt_id)
        if attempt is None:
            return
        folder = job_folder(self.data_dir, attempt.job_id)
        records = read_spool(spool_path(folder / "output", attempt.epoch))
        if not records:
            return
        with self.database.transaction() as session:
            job = jobs.find(session, attempt.job_id)
            attempt = attempts.find(session, attempt_id)
            if attempt is None or job is None:
                return
            known = int((attempt.handle or {}).get("events", 0))
            self._store(session, job, attempt, known, records[known:])
            last = records[-1]
            if last["type"] == LAST_WORD and attempts.may_write(attempt) and attempt.epoch == job.current_epoch:
                word = last["payload"]
                self._finish(session, job, attempt, word, word.get("verdict"))


def phases_with(
    phases: list[dict[str, Any]], started: dict[str, Any] | None, at: float | None = None
) -> list[dict[str, Any]]:
    """The list with its open phase closed and, if given, a new one opened."""
    at = at or time.time()
    closed = [{**phase, "ended_at": phase.get("ended_at") or at} for phase in phases]
    if started is None:
        return closed
    name = str(started.get("phase") or started.get("name") or "running")
    return [*closed, {"name": name, "started_at": at, "ended_at": None}]
