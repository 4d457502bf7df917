"""Launches, adopts, watches and ends attempts that were claimed, and frees their memory when that is safe.

Processes are started and killed outside of transactions. A reservation (`attempt.is_live`) is freed only when the
process and everything it started are proven gone and the device has its memory back.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.executors.base import Executor, Look, ProcessState
from app.executors.judgement import Ending, Fault, after, ending, host_gone
from app.executors.residue import Residue
from app.executors.watch import DeviceWatch
from app.models import DeviceState
from app.models.tables import ACTIVE, Attempt, AttemptState, Job, JobStatus
from app.services.jobs import PREEMPTED, job_folder, planned_peak
from app.services.runs import RunService, phases_with
from app.settings import Settings
from app.store import attempts, jobs
from app.store.database import Database

log = logging.getLogger(__name__)
ROUND_S = 1.0  # what a round waits for looks, and for processes that are started or killed; each goes on by itself
STOP_NOTICE_S = 0.5  # systemd's and the system's own TERM reaches a process of a job before or after this one
LOOKERS, LAUNCHERS, KILLERS = 16, 2, 8  # more launches at once would only make each of them later
Seen = tuple[dict[str, Any], Look | None]  # the handle of an attempt's process, and the look at it


class Supervisor:
    """Looks after every live attempt of one executor."""

    def __init__(
        self, database: Database, settings: Settings, executor: Executor, clock: Callable[[], float] = time.time
    ) -> None:
        self.database, self.settings, self.executor, self.clock = database, settings, executor, clock
        self.runs = RunService(database, settings)
        self.devices = DeviceWatch(executor)
        self.residue = Residue(self.devices, settings.memory_return_s)
        self._lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="looker")
        self._launchers = ThreadPoolExecutor(LAUNCHERS, thread_name_prefix="launcher")
        self._killers = ThreadPoolExecutor(KILLERS, thread_name_prefix="supervisor")
        self._looks: dict[str, Future[Seen]] = {}
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self.is_stopping = threading.Event()

    def stop_jobs(self) -> None:
        """End every running attempt, each at its next step with a checkpoint; the jobs stay for the next service."""
        with self.database.transaction() as session:
            handles = [a.handle for a, _ in attempts.live(session) if a.handle and "executor" in a.handle]
        grace_s = self.settings.pause_grace_s
        wait([self._killers.submit(self.executor.kill, handle, grace_s) for handle in handles if handle is not None])

    def close(self) -> None:
        """Wait for looks, launches and kills that are under way; running attempts go on."""
        self._lookers.shutdown(wait=True, cancel_futures=True)
        self._launchers.shutdown(wait=True)
        self._killers.shutdown(wait=True)

    def adopt(self) -> None:
        """Take over what an earlier service left: its silence was ours, so every lease starts again."""
        self.residue.note()
        now = self.clock()
        with self.database.transaction() as session:
            for attempt, _ in attempts.live(session):
                if attempts.may_write(attempt):
                    attempt.lease_expires_at = now + self.settings.lease_s
                    attempt.progress_at = now if attempt.progress_at else None

    def start(self, claimed: Sequence[tuple[str, str]]) -> None:
        """Launch (attempt, token) in order; waits at most ROUND_S for all, so that a slow place holds up no leader."""
        with self._lock:
            self._busy.update(attempt_id for attempt_id, _ in claimed)
        deadline = time.monotonic() + ROUND_S
        for attempt_id, token in claimed:
            launch = self._launchers.submit(self._launch_alone, attempt_id, token)
            wait([launch], max(0.0, deadline - time.monotonic()))

    def _launch_alone(self, attempt_id: str, token: str) -> None:
        """One launch, in a thread of its own. No round ends the attempt meanwhile."""
        try:
            self.launch(attempt_id, token)
        except Exception:  # the thread's boundary: the next round finds what was started, or gives the claim back
            log.exception("the launch of attempt %s was not written down", attempt_id)
        finally:
            with self._lock:
                self._busy.discard(attempt_id)

    def launch(self, attempt_id: str, token: str) -> bool:
        """Start the process of a claimed attempt; False when it could not be started, and the job is queued again."""
        with self.database.transaction() as session:
            attempt = attempts.find(session, attempt_id)
            assert attempt is not None
            device = attempts.device(session, attempt.device_id)
            job_id, epoch, reserved = attempt.job_id, attempt.epoch, attempt.reserved_bytes
        folder = job_folder(self.settings.data_dir, job_id)
        command = self._command(attempt_id, epoch, folder)
        name = f"{device.worker}/{device.name}" if device else None
        try:
            handle = self.executor.launch(attempt_id, command, token, folder / f"attempt-{epoch}.log", name, reserved)
        except Exception as error:  # whatever an executor can raise: the job must not be lost with it
            log.exception("attempt %s could not be launched", attempt_id)
            return self._not_launched(attempt_id, error)
        with self.database.transaction() as session:
            is_live = self._keep(session, attempt_id, handle)
            attempt = attempts.find(session, attempt_id)
            if attempt is not None and attempts.may_write(attempt):
                # The silence so far was the launch's; before its first word the process still has to load what it runs.
                attempt.lease_expires_at = self.clock() + self.settings.launch_s + self.settings.lease_s
        if not is_live:  # given up meanwhile, by a scheduler that took over: nobody would look after its process
            self.executor.kill(handle, 0.0)
        return is_live

    def _command(self, attempt_id: str, epoch: int, folder: Path) -> list[str]:
        command = [*(self.settings.runner_command or [sys.executable, "-P", "-m", "app.runner"])]
        command += ["--attempt", attempt_id, "--epoch", str(epoch), "--url", self.settings.public_url]
        return [*command, "--output", str((folder / "output").resolve())]

    def _keep(self, session: Session, attempt_id: str, handle: dict[str, Any]) -> bool:
        """Write a handle down; whether the attempt holds its memory still."""
        attempt = attempts.find(session, attempt_id)
        if attempt is None:
            return False
        jobs.find(session, attempt.job_id)  # locks it: the process may already be sending events
        attempt = attempts.find(session, attempt_id)
        assert attempt is not None
        attempt.handle = {**(attempt.handle or {}), **handle}
        return attempt.is_live

    def _not_launched(self, attempt_id: str, error: Exception) -> bool:
        message = f"the process could not be started: {type(error).__name__}: {error}"
        self._settle(attempt_id, Ending("launch_failed", message, Fault.INFRASTRUCTURE, False))
        return False

    def round(self) -> None:
        """Look at every live attempt at once; end what has to end. Waits at most ROUND_S for either."""
        with self.database.reading() as session:
            pairs = [(attempt, job) for attempt, job in attempts.live(session) if attempt.id not in self._busy]
        now = self.clock()
        self._looks = {attempt.id: self._looks.get(attempt.id) or self._begin_look(attempt) for attempt, _ in pairs}
        wait(self._looks.values(), ROUND_S)
        ends: list[Future[None]] = []
        for attempt, job in pairs:
            why = self._judge(attempt, job, now)
            if why is None:
                continue
            with self._lock:
                self._busy.add(attempt.id)
            ends.append(self._killers.submit(self._end, attempt, why))
        wait(ends, ROUND_S)

    def _begin_look(self, attempt: Attempt) -> Future[Seen]:
        return self._lookers.submit(self._look, attempt.id, attempt.handle or {})

    def _judge(self, attempt: Attempt, job: Job, now: float) -> Ending | None:
        """Whether it has to end, by its look; while its place does not answer only the lease decides."""
        seen: Seen = (attempt.handle or {}, Look(ProcessState.UNKNOWN))
        if self._looks[attempt.id].done():
            seen = self._looks.pop(attempt.id).result()
        attempt.handle, look = seen
        if look is None:
            return self._unlaunched(attempt, job)
        if "executor" not in attempt.handle:  # whether it has a process that would have to be killed is not known yet
            return None
        return ending(job, attempt, look, now, self.settings)

    def _look(self, attempt_id: str, handle: dict[str, Any]) -> Seen:
        """The handle of its process and a look at it; None when nobody knows of any."""
        try:
            if "executor" not in handle:
                launched = self.executor.find(attempt_id)
                if launched is None:
                    return handle, None
                with self.database.transaction() as session:
                    self._keep(session, attempt_id, launched)
                handle = {**handle, **launched}
            return handle, self.executor.look(handle)
        except Exception:  # the thread's boundary: the next round looks again
            log.exception("attempt %s could not be looked at; it is tried again", attempt_id)
            return handle, Look(ProcessState.UNKNOWN)

    def _unlaunched(self, attempt: Attempt, job: Job) -> Ending | None:
        """An attempt without a process: its launcher is at it, or died before it launched."""
        if not attempts.may_write(attempt) or job.status != JobStatus.RUNNING:
            return ending(job, attempt, Look(ProcessState.GONE), self.clock(), self.settings)
        if self.clock() - attempt.started_at < self.settings.launch_s:
            return None
        message = f"attempt {attempt.epoch} was claimed but never started"
        return Ending("never_started", message, Fault.INFRASTRUCTURE, False)

    def _end(self, attempt: Attempt, why: Ending) -> None:
        """Silence, kill, wait for the memory, then settle. Runs in a thread of its own."""
        try:
            if why.code == "terminated" and self.is_stopping.wait(STOP_NOTICE_S):
                return  # whoever stops its process stops this service too: the next one judges
            if why.code == "lease_expired":
                with self.database.transaction() as session:
                    jobs.find(session, attempt.job_id)  # locks it: its last word may be coming in
                    current = attempts.find(session, attempt.id)
                    if current is not None and attempts.may_write(current):
                        attempts.silence(current, AttemptState.LOST, why.code)
            has_process = "executor" in (attempt.handle or {})
            if why.needs_kill and has_process and not self.executor.kill(attempt.handle or {}, self._grace(why)):
                log.warning("attempt %s: something of its process remains; its memory stays reserved", attempt.id)
                return
            if why.code == "never_started":
                self.executor.discard(attempt.id)
            why = self._known_by_now(attempt, why)
            stuck = self.residue.after(attempt)
            self.runs.drain(attempt.id)
            self._settle(attempt.id, why, stuck)
        except Exception:  # the thread's boundary: the next round tries again
            log.exception("attempt %s could not be ended; it is tried again", attempt.id)
        finally:
            with self._lock:
                self._busy.discard(attempt.id)

    def _known_by_now(self, attempt: Attempt, why: Ending) -> Ending:
        """The same end, or its machine's: an executor may learn that a machine is down only after the lease ran out."""
        handle = attempt.handle or {}
        if (
            why.code == "lease_expired"
            and "executor" in handle
            and self.executor.look(handle).state == ProcessState.HOST_GONE
        ):
            return host_gone(attempt)
        return why

    def _grace(self, why: Ending) -> float:
        if why.code in ("process_gone", "terminated"):
            return 0.0
        return self.settings.pause_grace_s if why.code == JobStatus.PAUSING else self.settings.kill_grace_s

    def _settle(self, attempt_id: str, why: Ending, stuck_device: dict[str, Any] | None = None) -> None:
        """Free the reservation and say what becomes of the job, once."""
        with self.database.transaction() as session:
            attempt = attempts.find(session, attempt_id)
            job = jobs.find(session, attempt.job_id) if attempt else None
            if attempt is None or job is None:
                return
            session.refresh(attempt)
            if not attempt.is_live:
                return
            attempts.end(attempt, why.code)
            job.byte_seconds += int(attempt.reserved_bytes * max(0.0, self.clock() - attempt.started_at))
            if stuck_device and (device := attempts.device(session, attempt.device_id)):
                device.state, device.reason = DeviceState.QUARANTINED, stuck_device
            if job.current_epoch == attempt.epoch and job.status in ACTIVE:
                self._conclude(session, job, attempt, why)
            if job.status in (JobStatus.QUEUED, JobStatus.PAUSED):  # the next attempt may have to plan again
                has_missed = bool(attempts.verdicts(session, job.id, Fault.MEMORY))
                job.planned_peak_bytes = None if has_missed else planned_peak(job.request)

    def _conclude(self, session: Session, job: Job, attempt: Attempt, why: Ending) -> None:
        job.phases = phases_with(job.phases, None)
        reason = job.reason or {}
        if job.status == JobStatus.CANCELLING:
            job.status, job.ended_at = JobStatus.CANCELLED, self.clock()
        elif job.status == JobStatus.PAUSING and reason.get("code") == PREEMPTED:
            job.status = JobStatus.QUEUED
        elif job.status == JobStatus.PAUSING:
            job.status = JobStatus.PAUSED
        elif job.status == JobStatus.RUNNING:
            fault, reason = self._charged(attempt, why)
            reason = after(job, fault, reason, self.settings)
            attempt.verdict = attempt.verdict or {"fault": fault.value, **reason}
            job.ended_at = self.clock() if job.status == JobStatus.FAILED else None
        else:
            return
        payload = {"reason": job.reason} if job.status in (JobStatus.QUEUED, JobStatus.FAILED) else {}
        jobs.add_event(session, job, job.status, payload)

    @staticmethod
    def _charged(attempt: Attempt, why: Ending) -> tuple[Fault, dict[str, Any]]:
        """(whose fault it was, the reason to tell): the runner's own verdict before ours."""
        details: dict[str, Any] = {"attempt": attempt.epoch, "log": f"attempt-{attempt.epoch}.log"}
        verdict = attempt.verdict or {}
        if not verdict.get("fault"):
            return why.fault or Fault.INFRASTRUCTURE, {"code": why.code, "message": why.message, "details": details}
        reason = verdict.get("reason") or {"code": verdict.get("code", why.code), "message": why.message}
        details |= reason.get("details") or {}
        details["verdict"] = {key: value for key, value in verdict.items() if key != "reason"}
        return Fault(verdict["fault"]), {**reason, "details": details}
