"""What jobs are made from: datasets and their uploads, profiles, plans, and how good predictions were."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id


class DatasetStatus(StrEnum):
    """Where a dataset stands."""

    UPLOADING = "uploading"  # parts are being sent
    VALIDATING = "validating"  # its files are being looked at
    READY = "ready"  # jobs can use it
    REFUSED = "refused"  # its reason says why; nothing of it is on disk


class PlanStatus(StrEnum):
    """Where a plan stands."""

    QUEUED = "queued"  # waits for a worker
    RUNNING = "running"  # is being profiled and solved
    READY = "ready"  # its document says what would run
    INFEASIBLE = "infeasible"  # no plan fits; its reason names the smallest budget that does
    FAILED = "failed"  # its reason says why


class Dataset(Base):
    """Labelled images of a team, or a file of weights that it uploaded: its summary says which.

    source: {kind: upload | path | hub, ...}. sha256: of what was uploaded. lease_expires_at: until when a validation
    that has begun is taken to be alive.
    """

    __tablename__ = "datasets"
    __table_args__ = (Index("datasets_by_team", "team_id", "created_at", "id"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("ds"))
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    name: Mapped[str]
    source: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(default=DatasetStatus.VALIDATING)
    reason: Mapped[dict[str, Any] | None]
    num_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str | None]
    summary: Mapped[dict[str, Any] | None]
    lease_expires_at: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=time.time)


class Upload(Base):
    """An archive that is being sent in parts: `received` of `size` bytes are on disk."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("up"))
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    size: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    expires_at: Mapped[float]


class Profile(Base):
    """What was measured of a model and adapter on a device; shared by everybody under its fingerprint."""

    __tablename__ = "profiles"
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str]
    document: Mapped[dict[str, Any]]
    created_at: Mapped[float] = mapped_column(default=time.time)


class Plan(Base):
    """How a job would fit a budget. lease_expires_at: until when its worker is taken to be alive."""

    __tablename__ = "plans"
    __table_args__ = (Index("plans_by_team", "team_id", "created_at", "id"), Index("plans_by_status", "status"))
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("plan"))
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    status: Mapped[str] = mapped_column(default=PlanStatus.QUEUED)
    request: Mapped[dict[str, Any]]
    document: Mapped[dict[str, Any] | None]
    reason: Mapped[dict[str, Any] | None]
    lease_expires_at: Mapped[float | None]
    created_at: Mapped[float] = mapped_column(default=time.time)
    ended_at: Mapped[float | None]


class PredictionPair(Base):
    """A peak that was predicted and the one that was measured. source: the job or the command it comes from."""

    __tablename__ = "prediction_pairs"
    __table_args__ = (Index("prediction_pairs_by_time", "at"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    model: Mapped[str]
    adapter: Mapped[str]
    device: Mapped[str]
    precision: Mapped[str]
    predicted_bytes: Mapped[int] = mapped_column(BigInteger)
    measured_bytes: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[float] = mapped_column(default=time.time)
    source: Mapped[str]
