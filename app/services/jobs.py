"""Jobs as their owners see them: submit, look, cancel, pause, resume, events."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from app.errors import Changed, WrongState, existing
from app.models.tables import ENDED, Event, Job, JobStatus, Priority
from app.services.datasets import ID_PREFIX, DatasetService
from app.services.keys import Caller, require
from app.services.models import ModelCatalog
from app.services.placement import require_place
from app.services.plans import PlanService
from app.store import audit, jobs
from app.store.database import Database
from s2a_core.errors import InvalidInput
from s2a_core.requests import chosen_adapter
from s2a_core.sizes import format_bytes

PREEMPTED = "preempted"  # why a job pauses that the scheduler stops for another
# What a plan has settled: the same fields of the request are filled from it.
PLANNED = (
    "model", "adapter", "objective", "batch_size", "image_size", "precision", "weight_format", "optimizer", "device",
    "ema_decay",
)  # fmt: skip


def job_folder(data_dir: Path, job_id: str) -> Path:
    """Where a job's files are."""
    return data_dir / "jobs" / job_id


def planned_peak(request: dict[str, Any]) -> int | None:
    """The peak of the plan that a request comes with; None where the job is still to be planned."""
    return int(request["plan"]["predicted"]["peak_bytes"]) if request.get("plan") else None


def document(job: Job) -> dict[str, Any]:
    """A job as the API shows it."""
    request = {name: value for name, value in job.request.items() if name != "plan"}
    if request.get("dataset"):
        request["data"] = request["dataset"]
    return {
        "id": job.id,
        "name": job.name,
        "metadata": job.labels,
        "status": job.status,
        "priority": Priority(job.priority).name.lower(),
        "request": request,
        "plan_id": job.plan_id,
        "device": job.device,
        "budget_bytes": job.budget_bytes,
        "planned_peak_bytes": job.planned_peak_bytes,
        "reason": job.reason or plain_reason(job),
        "phases": job.phases,
        "report": job.report,
        "position": job.position,
        "estimated_start_at": job.eta_at,
        "estimated_finish_at": None,
        "attempts": job.current_epoch,
        "version": job.version,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
    }


def plain_reason(job: Job) -> dict[str, Any]:
    """Why a job is as it is where nothing else was written: what it does, or how it ended."""
    phase = next((phase for phase in reversed(job.phases or []) if not phase.get("ended_at")), None)
    details: dict[str, Any] = {}
    message = f"is {job.status}"
    if job.status == JobStatus.RUNNING:
        details = {"phase": phase["name"] if phase else None}
        message = f"is {phase['name']}" if phase else "its process starts"
    elif measured := (job.report or {}).get("measured_peak_bytes"):
        details = {"measured_peak_bytes": measured, "budget_bytes": job.budget_bytes}
        message = f"needed {format_bytes(measured)} of its budget of {format_bytes(job.budget_bytes)}"
    return {"code": str(job.status), "message": message, "details": details}


def event_document(event: Event) -> dict[str, Any]:
    """An event as the API shows it."""
    return {**event.payload, "seq": event.seq, "type": event.type, "at": event.at, "attempt": event.epoch}


def estimated_finish(job: Job, step: Event | None) -> float | None:
    """When a training job is expected to end, from its last step; None before the first."""
    if job.status != JobStatus.RUNNING or step is None or step.epoch != job.current_epoch:
        return None
    began = next((p["started_at"] for p in reversed(job.phases) if p["name"] == "training"), None)
    done, total = step.payload.get("step"), step.payload.get("total_steps")
    if began is None or not isinstance(done, int) or not isinstance(total, int) or not 0 < done <= total:
        return None
    return float(step.at + (step.at - began) / done * (total - done))


class JobService:
    """Everything a key's holder can do with jobs. A job of another team is NotFound."""

    def __init__(self, database: Database, datasets: DatasetService, models: ModelCatalog, plans: PlanService) -> None:
        self.database, self.datasets, self.models, self.plans = database, datasets, models, plans

    def submit(
        self,
        caller: Caller,
        request: dict[str, Any],
        budget_bytes: int | None,
        priority: str = "normal",
        *,
        name: str = "",
        labels: dict[str, Any] | None = None,
        plan_id: str | None = None,
    ) -> dict[str, Any]:
        """Queue a job, from a whole request or from a plan that is ready and what it leaves open."""
        require(caller, "write")
        wanted = dict(request)
        with self.database.together() as session:  # what the job names is not removed before the job is there
            if plan_id is not None:
                wanted, budget_bytes = self._planned(caller, wanted, budget_bytes, plan_id)
            if budget_bytes is None or not wanted.get("data") or not wanted.get("model"):
                raise InvalidInput("a job needs a model, data and a budget, or a plan that has them")
            self.models.require(wanted["model"])
            asked, source = self.datasets.resolve(caller, wanted["data"])
            wanted.update(data=source, budget_bytes=budget_bytes)
            wanted["weights"] = self.datasets.weights(caller, wanted.get("weights"))
            if asked.startswith(ID_PREFIX):
                wanted["dataset"] = asked
            job = Job(
                team_id=caller.team_id,
                name=name,
                labels=labels or {},
                request={key: value for key, value in wanted.items() if value is not None},
                plan_id=plan_id,
                device=wanted.get("device"),
                budget_bytes=budget_bytes,
                planned_peak_bytes=planned_peak(wanted),
                priority=int(Priority[priority.upper()]),
                reason={"code": "waiting", "message": "waits for the scheduler", "details": {}},
            )
            require_place(session, job)
            jobs.add(session, job)
            jobs.add_event(session, job, "queued", {"budget_bytes": budget_bytes})
            audit.record(session, caller.team_id, caller.key_id, "job.created", job.id)
            return document(job)

    def _planned(
        self, caller: Caller, wanted: dict[str, Any], budget_bytes: int | None, plan_id: str
    ) -> tuple[dict[str, Any], int]:
        asked, planned = self.plans.ready(caller, plan_id)
        for field in PLANNED:
            settled = planned.get(field) if planned.get(field) is not None else asked.get(field)
            if wanted.get(field) not in (None, settled):
                raise InvalidInput(f"plan {plan_id} is for {field} {settled!r}, not {wanted[field]!r}")
            wanted[field] = settled
        wanted["adapter"] = chosen_adapter(asked["adapter"], planned["adapter"])
        if budget_bytes not in (None, asked["budget_bytes"]):
            raise InvalidInput(
                f"plan {plan_id} is for a budget of {asked['budget_bytes']:,} bytes: leave the budget out"
            )
        for field in ("data", "weights", "seed"):
            wanted[field] = wanted.get(field) if wanted.get(field) is not None else asked.get(field)
        wanted["plan"] = planned
        return wanted, int(asked["budget_bytes"])

    def get(self, caller: Caller, job_id: str) -> dict[str, Any]:
        """One job."""
        with self.database.reading() as session:
            job = self.look(session, caller, job_id)
            shown = document(job)
            if job.status == JobStatus.RUNNING:
                shown["estimated_finish_at"] = estimated_finish(job, jobs.last_event(session, job_id, "step"))
            return shown

    def listed(
        self, caller: Caller, status: str | None, limit: int, after: str | None, words: str = ""
    ) -> dict[str, Any]:
        """A page of jobs, newest first, and the cursor of the next. words: what to search for."""
        with self.database.reading() as session:
            rows, following = jobs.listed(session, caller.visible_team, status, limit, after, words)
            return {"items": [document(job) for job in rows], "next": following}

    def cancel(self, caller: Caller, job_id: str, version: int | None = None) -> dict[str, Any]:
        """Stop a job for good; one that has ended is WrongState."""
        return self._ask(caller, job_id, JobStatus.CANCELLING, JobStatus.CANCELLED, version)

    def pause(self, caller: Caller, job_id: str, version: int | None = None) -> dict[str, Any]:
        """Stop a job so that it can go on from its last checkpoint."""
        return self._ask(caller, job_id, JobStatus.PAUSING, JobStatus.PAUSED, version)

    def resume(self, caller: Caller, job_id: str, version: int | None = None) -> dict[str, Any]:
        """Queue a paused job again."""
        with self.database.transaction() as session:
            job = self._change(session, caller, job_id, version)
            if job.status != JobStatus.PAUSED:
                raise WrongState(f"only a paused job can be resumed; {job_id} is {job.status}")
            job.status, job.pause_requested_at = JobStatus.QUEUED, None
            job.reason = {"code": "waiting", "message": "waits for the scheduler", "details": {}}
            jobs.add_event(session, job, "queued", {})
            audit.record(session, caller.team_id, caller.key_id, "job.resumed", job_id)
            return self._flushed(session, job)

    def _ask(
        self, caller: Caller, job_id: str, while_live: JobStatus, at_once: JobStatus, version: int | None
    ) -> dict[str, Any]:
        is_cancel = at_once == JobStatus.CANCELLED
        with self.database.transaction() as session:
            job = self._change(session, caller, job_id, version)
            if job.status in ENDED:
                raise WrongState(f"{job_id} has ended: it is {job.status}")
            if not is_cancel and job.status in (JobStatus.CANCELLING, JobStatus.PAUSED):
                raise WrongState(f"{job_id} cannot be paused: it is {job.status}")
            if job.status == while_live and (job.reason or {}).get("code") != PREEMPTED:
                return document(job)  # asked again: nothing changes, and nobody is told twice
            now = time.time()
            if job.status in (JobStatus.QUEUED, JobStatus.PAUSED):
                job.status, job.position, job.eta_at = at_once, None, None
                job.ended_at = now if is_cancel else None
            else:
                job.status = while_live
            if is_cancel:
                job.cancel_requested_at = now
            else:
                job.pause_requested_at = now
            word = "cancelled" if is_cancel else "paused"
            job.reason = {"code": word, "message": f"{word} on request", "details": {"key_id": caller.key_id}}
            jobs.add_event(session, job, job.status, {})
            audit.record(session, caller.team_id, caller.key_id, f"job.{word}", job_id)
            return self._flushed(session, job)

    def events(self, caller: Caller, job_id: str, after: int, limit: int = 500) -> tuple[list[dict[str, Any]], bool]:
        """(events above `after`, whether the job has ended)."""
        with self.database.reading() as session:
            job = self.look(session, caller, job_id)
            documents = [event_document(event) for event in jobs.events(session, job_id, after, limit)]
            return documents, job.status in ENDED

    def newest_events(self, caller: Caller, job_id: str, limit: int) -> dict[str, Any]:
        """What a page shows of a job's events: the newest but for steps, newest first; the last plan, step and seq."""
        with self.database.reading() as session:
            self.look(session, caller, job_id)
            last_seq = jobs.last_seq(session, job_id)  # first: what comes after it is streamed
            last = {kind: jobs.last_event(session, job_id, kind) for kind in ("plan", "step")}
            return {
                "last_seq": last_seq,
                "events": [event_document(event) for event in jobs.newest_events(session, job_id, "step", limit)],
                **{kind: event_document(event) if event else None for kind, event in last.items()},
            }

    def newest_event(self) -> int:
        """A number that grows with every event of any job."""
        with self.database.reading() as session:
            return jobs.newest_event(session)

    @staticmethod
    def look(session: Any, caller: Caller, job_id: str) -> Job:
        """A job the caller sees, to be read only."""
        return existing(jobs.look(session, job_id, caller.visible_team), f"job {job_id}")

    @staticmethod
    def _flushed(session: Any, job: Job) -> dict[str, Any]:
        session.flush()  # so that the version is that of the change
        return document(job)

    @staticmethod
    def _change(session: Any, caller: Caller, job_id: str, version: int | None) -> Job:
        require(caller, "read")
        job = existing(jobs.find(session, job_id, caller.visible_team), f"job {job_id}")
        require(caller, "write")
        if version is not None and version != job.version:
            raise Changed(f"{job_id} has changed: it is at version {job.version}", details={"version": job.version})
        return job
