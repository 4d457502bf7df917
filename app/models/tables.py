"""Teams, keys, jobs and what their attempts leave behind. Times are Unix seconds; sizes are bytes."""

from __future__ import annotations

import secrets
import time
from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import BigInteger, Connection, ForeignKey, Index, UniqueConstraint, event
from sqlalchemy.orm import Mapped, Mapper, mapped_column

from app.models.base import Base, new_id

__all__ = [
    "ACTIVE",
    "ENDED",
    "ApiKey",
    "Artifact",
    "Attempt",
    "AttemptState",
    "Base",
    "Checkpoint",
    "Event",
    "Job",
    "JobStatus",
    "Metric",
    "Priority",
    "Team",
    "new_id",
]


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waits for memory
    RUNNING = "running"  # an attempt holds memory
    PAUSING = "pausing"  # its process is being stopped, to be resumed from its checkpoint
    PAUSED = "paused"  # holds nothing until somebody resumes it
    CANCELLING = "cancelling"  # its process is being stopped for good
    CANCELLED = "cancelled"  # stopped on request
    SUCCEEDED = "succeeded"  # its report and artifacts are there
    FAILED = "failed"  # its reason says why


ENDED = (JobStatus.CANCELLED, JobStatus.SUCCEEDED, JobStatus.FAILED)
ACTIVE = (JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING)


class AttemptState(StrEnum):
    """Where an attempt stands."""

    STARTING = "starting"  # launched; its process has not spoken yet
    RUNNING = "running"  # its process has spoken
    LOST = "lost"  # its lease ran out; its memory stays reserved until its process is proven gone
    ENDED = "ended"  # holds nothing


class Priority(IntEnum):
    """How urgent a job is; higher goes first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Team(Base):
    """Who owns jobs. weight: its share next to other teams'; a quota that is None has no limit."""

    __tablename__ = "teams"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("team"))
    name: Mapped[str] = mapped_column(unique=True)
    weight: Mapped[float] = mapped_column(default=1.0)
    quota_jobs: Mapped[int | None]
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger)
    quota_byte_seconds_per_day: Mapped[int | None] = mapped_column(BigInteger)


class ApiKey(Base):
    """A key `s2a_<id>_<secret>`; only the secret's SHA-256 is kept. scopes: of read, write, admin."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: secrets.token_hex(4))
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    name: Mapped[str] = mapped_column(default="")
    scopes: Mapped[list[str]] = mapped_column(default=lambda: ["read", "write"])
    secret_hash: Mapped[str]
    created_at: Mapped[float] = mapped_column(default=time.time)
    expires_at: Mapped[float | None]
    last_used_at: Mapped[float | None]
    revoked_at: Mapped[float | None]


class Job(Base):
    """One request to fine-tune, and how far it got.

    device: the kind of device wanted, any if None. planned_peak_bytes: what a start reserves; the budget until planned.
    position, eta_at: place in the queue (1 is next) and when it is expected to start. version: counts its changes.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("jobs_by_status", "status", "priority", "created_at"),
        Index("jobs_by_team", "team_id", "created_at", "id"),
        Index("jobs_by_time", "created_at", "id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("job"))
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    name: Mapped[str] = mapped_column(default="")
    # `metadata` is taken by SQLAlchemy, so the attribute has another name than the column
    labels: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    status: Mapped[str] = mapped_column(default=JobStatus.QUEUED)
    priority: Mapped[int] = mapped_column(default=int(Priority.NORMAL))
    request: Mapped[dict[str, Any]]
    plan_id: Mapped[str | None] = mapped_column(ForeignKey("plans.id"))
    device: Mapped[str | None]
    budget_bytes: Mapped[int] = mapped_column(BigInteger)
    planned_peak_bytes: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[dict[str, Any] | None]
    phases: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    report: Mapped[dict[str, Any] | None]
    position: Mapped[int | None]
    eta_at: Mapped[float | None]
    current_epoch: Mapped[int] = mapped_column(default=0)
    infra_retries: Mapped[int] = mapped_column(default=0)
    own_retries: Mapped[int] = mapped_column(default=0)
    oom_retries: Mapped[int] = mapped_column(default=0)
    host_kills: Mapped[int] = mapped_column(default=0)
    byte_seconds: Mapped[int] = mapped_column(BigInteger, default=0)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[float] = mapped_column(default=time.time)
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    pause_requested_at: Mapped[float | None]
    cancel_requested_at: Mapped[float | None]


@event.listens_for(Job, "before_update")
def _count_change(mapper: Mapper[Job], connection: Connection, job: Job) -> None:
    job.version += 1


class Attempt(Base):
    """One process that runs, or ran, a job. epoch: counts the attempts of a job; older ones are refused.

    is_live: its memory is reserved. verdict: what its end was judged to be, such as whose memory ran out.
    """

    __tablename__ = "attempts"
    __table_args__ = (UniqueConstraint("job_id", "epoch"), Index("attempts_by_live", "is_live"))
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("att"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    epoch: Mapped[int]
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"))
    state: Mapped[str] = mapped_column(default=AttemptState.STARTING)
    is_live: Mapped[bool] = mapped_column(default=True)
    token_hash: Mapped[str]
    handle: Mapped[dict[str, Any] | None]
    reserved_bytes: Mapped[int] = mapped_column(BigInteger)
    heartbeat_at: Mapped[float] = mapped_column(default=time.time)
    lease_expires_at: Mapped[float | None]
    progress_at: Mapped[float | None]
    started_at: Mapped[float] = mapped_column(default=time.time)
    ended_at: Mapped[float | None]
    reason: Mapped[str | None]
    verdict: Mapped[dict[str, Any] | None]
    resumed_from_step: Mapped[int | None]


class Event(Base):
    """Something a job's process said. seq: 1, 2, 3 ... within its job."""

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("job_id", "seq"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    seq: Mapped[int]
    epoch: Mapped[int]
    type: Mapped[str]
    payload: Mapped[dict[str, Any]]
    at: Mapped[float] = mapped_column(default=time.time)


class Artifact(Base):
    """A file of a finished job, under the data directory."""

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("job_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    name: Mapped[str]
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]


class Checkpoint(Base):
    """A state a job can go on from. path: relative to the data directory."""

    __tablename__ = "checkpoints"
    __table_args__ = (Index("checkpoints_by_job", "job_id", "step"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("ckpt"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    attempt_epoch: Mapped[int]
    step: Mapped[int]
    path: Mapped[str]
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    created_at: Mapped[float] = mapped_column(default=time.time)


class Metric(Base):
    """One value of a job's series; a step that is run again after a resume replaces its value."""

    __tablename__ = "metrics"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]
    at: Mapped[float] = mapped_column(default=time.time)
