"""What becomes of an attempt and its job, from what is known of them. Nothing here reads a clock or a database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.executors.base import Look, ProcessState
from app.models.tables import Attempt, AttemptState, Job, JobStatus
from app.settings import Settings

# After the service was stopped in order (`docker stop`, systemd, a planned reboot), its processes end within so long.
STOP_WINDOW_S = 60.0
TERMINATED = (143, -15)  # after its checkpoint, or at once
# Signals a process gives itself by its own fault; the others come from outside, so from the infrastructure.
OWN_SIGNALS = {-4: "SIGILL", -6: "SIGABRT", -7: "SIGBUS", -8: "SIGFPE", -11: "SIGSEGV"}


class Fault(StrEnum):
    """Whose fault an attempt's end was: which budget of retries it is charged to."""

    INFRASTRUCTURE = "infrastructure"  # a process killed from outside, silence, a failed launch
    OWN = "own"  # a crash or an unexpected error of the job itself
    MEMORY = "memory"  # its own budget was too small: it goes on with a tighter plan
    NEIGHBOUR = "neighbour"  # somebody else took its memory: charged to nobody
    HOST = "host"  # its machine went down with it
    SERVICE = "service"  # it ended as its service was stopped in order: charged to nobody


@dataclass(frozen=True)
class Ending:
    """Why an attempt has to end. fault None: on request. needs_kill: its process may still run."""

    code: str
    message: str
    fault: Fault | None
    needs_kill: bool


def ending(job: Job, attempt: Attempt, look: Look, now: float, settings: Settings) -> Ending | None:
    """Whether a live attempt has to end, and why; None while it may go on."""
    epoch = attempt.epoch
    if attempt.state in (AttemptState.ENDED, AttemptState.LOST):
        is_late = now - (attempt.ended_at or now) > settings.exit_s or attempt.state == AttemptState.LOST
        if look.state in (ProcessState.GONE, ProcessState.HOST_GONE) or is_late:
            return Ending("over", attempt.reason or "over", None, True)
        return None
    if job.status != JobStatus.RUNNING:
        return Ending(str(job.status), f"attempt {epoch} was stopped on request", None, True)
    if look.state in (ProcessState.GONE, ProcessState.HOST_GONE) and ended_with_service(attempt):
        message = f"attempt {epoch} ended with the service, which was stopped; the job goes on from its last checkpoint"
        return Ending("service_stopped", message, Fault.SERVICE, look.state == ProcessState.GONE)
    if look.state == ProcessState.HOST_GONE:
        return host_gone(attempt)
    if look.state == ProcessState.GONE:
        by = look.exit_code
        if by in OWN_SIGNALS:
            return Ending("crashed", f"the process of attempt {epoch} died of {OWN_SIGNALS[by]}", Fault.OWN, True)
        if by in TERMINATED:
            message = f"the process of attempt {epoch} was told to stop (TERM) by somebody else"
            return Ending("terminated", message, Fault.INFRASTRUCTURE, True)
        how = f" with exit code {by}" if by is not None else ""
        message = f"the process of attempt {epoch} ended without a word{how}"
        return Ending("process_gone", message, Fault.INFRASTRUCTURE, True)
    if attempt.lease_expires_at is not None and now > attempt.lease_expires_at:
        silent = now - attempt.heartbeat_at
        message = f"attempt {epoch} was silent for {silent:.0f} s; its lease is {settings.lease_s:.0f} s"
        return Ending("lease_expired", message, Fault.INFRASTRUCTURE, True)
    if attempt.progress_at is not None and now - attempt.progress_at > settings.stuck_s:
        idle = now - attempt.progress_at
        return Ending("stuck", f"attempt {epoch} is alive but did nothing for {idle:.0f} s", Fault.OWN, True)
    return None


def ended_with_service(attempt: Attempt) -> bool:
    """Whether the service that looked after it was stopped in order, and the attempt was not heard of since."""
    stopped_at = (attempt.handle or {}).get("service_stopped_at")
    return stopped_at is not None and attempt.heartbeat_at < float(stopped_at) + STOP_WINDOW_S


def host_gone(attempt: Attempt) -> Ending:
    """The end of an attempt whose machine went down with it."""
    return Ending("host_gone", f"the machine of attempt {attempt.epoch} went down", Fault.HOST, False)


def after(job: Job, fault: Fault, reason: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Charge a fault to a running job: it is queued again, or has failed for good. Returns the reason it then has."""
    limits = {
        Fault.INFRASTRUCTURE: ("infra_retries", settings.max_infra_retries),
        Fault.OWN: ("own_retries", settings.max_own_retries),
        Fault.MEMORY: ("oom_retries", settings.max_oom_retries),
        Fault.HOST: ("host_kills", settings.max_host_kills - 1),
    }
    details = {**reason.get("details", {}), "fault": fault.value}
    is_over = False
    if fault in limits:
        name, allowed = limits[fault]
        count = int(getattr(job, name)) + 1
        setattr(job, name, count)
        is_over = count > allowed
        details |= {name: count, "allowed": allowed}
    code = "host_killed" if fault == Fault.HOST and is_over else reason["code"]
    job.status = JobStatus.FAILED if is_over else JobStatus.QUEUED
    job.reason = {"code": code, "message": reason["message"], "details": details}
    return job.reason
