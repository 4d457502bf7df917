"""Tables of the service. Times are Unix seconds; sizes are bytes; ids are short random words."""

from __future__ import annotations

import secrets
import time
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


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


class Base(DeclarativeBase):
    """Metadata of every table."""

    type_annotation_map = {dict[str, Any]: JSON, list[dict[str, Any]]: JSON}


def new_id(prefix: str) -> Any:
    """A column default: `prefix_` and 12 random hex digits."""
    return lambda: f"{prefix}_{secrets.token_hex(6)}"


class Team(Base):
    """Who owns jobs."""

    __tablename__ = "teams"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("team"))
    name: Mapped[str] = mapped_column(unique=True)


class ApiKey(Base):
    """A key `s2a_<id>_<secret>`; only the secret's SHA-256 is kept. scope: admin or user."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: secrets.token_hex(4))
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    scope: Mapped[str] = mapped_column(default="user")
    secret_hash: Mapped[str]
    created_at: Mapped[float] = mapped_column(default=time.time)
    revoked_at: Mapped[float | None]


class Job(Base):
    """One request to fine-tune, and how far it got."""

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_by_status", "status", "priority", "created_at"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("job"))
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    status: Mapped[str] = mapped_column(default=JobStatus.QUEUED)
    priority: Mapped[int] = mapped_column(default=1)
    request: Mapped[dict[str, Any]]
    budget_bytes: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[dict[str, Any] | None]
    phases: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    report: Mapped[dict[str, Any] | None]
    current_epoch: Mapped[int] = mapped_column(default=0)
    infra_retries: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float] = mapped_column(default=time.time)
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]


class Attempt(Base):
    """One process that runs, or ran, a job. epoch: counts the attempts of a job; older ones are refused."""

    __tablename__ = "attempts"
    __table_args__ = (UniqueConstraint("job_id", "epoch"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("att"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    epoch: Mapped[int]
    is_live: Mapped[bool] = mapped_column(default=True)
    token_hash: Mapped[str]
    handle: Mapped[dict[str, Any] | None]
    reserved_bytes: Mapped[int] = mapped_column(BigInteger)
    heartbeat_at: Mapped[float] = mapped_column(default=time.time)
    started_at: Mapped[float] = mapped_column(default=time.time)
    ended_at: Mapped[float | None]
    reason: Mapped[str | None]


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
