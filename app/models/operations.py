"""What the service runs on and remembers of its callers: devices, leases, idempotency, audit, webhooks."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id


class DeviceState(StrEnum):
    """Whether a device takes jobs."""

    READY = "ready"  # takes jobs
    QUARANTINED = "quarantined"  # takes none until somebody looks at its reason
    GONE = "gone"  # its worker no longer reports it


class Device(Base):
    """Memory that jobs share. kind: cpu, cuda, or the product's name.

    reserve_bytes: kept free for the machine. context_bytes: what a process costs before its first tensor.
    baseline_bytes: in use before any job. used_by_others_bytes: in use by processes that are not ours.
    """

    __tablename__ = "devices"
    __table_args__ = (UniqueConstraint("worker", "name"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("dev"))
    worker: Mapped[str]
    kind: Mapped[str]
    name: Mapped[str]
    capacity_bytes: Mapped[int] = mapped_column(BigInteger)
    reserve_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    context_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    baseline_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    used_by_others_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    state: Mapped[str] = mapped_column(default=DeviceState.READY)
    reason: Mapped[dict[str, Any] | None]
    seen_at: Mapped[float] = mapped_column(default=time.time)

    def free_bytes(self, reserved_bytes: int) -> int:
        """What reservations of so many bytes leave, beside what is not ours and what is kept free."""
        used = self.reserve_bytes + self.baseline_bytes + self.used_by_others_bytes
        return max(0, self.capacity_bytes - used - reserved_bytes)


class LeaderLease(Base):
    """Who may act under a name. token: grows with every new holder, so that an old one's writes are refused."""

    __tablename__ = "leader_leases"
    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    token: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[float]


class EndedSession(Base):
    """A session of the pages that was signed out before it expired. id: the token's nonce."""

    __tablename__ = "ended_sessions"
    id: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[float]


class IdempotencyKey(Base):
    """A request that was sent with an Idempotency-Key. response is None, and status 0, while it is in progress."""

    __tablename__ = "idempotency_keys"
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_hash: Mapped[str]
    status: Mapped[int] = mapped_column(default=0)
    response: Mapped[dict[str, Any] | None]
    created_at: Mapped[float] = mapped_column(default=time.time)


class AuditEntry(Base):
    """Who changed what."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("audit_by_team", "team_id", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    key_id: Mapped[str | None]
    action: Mapped[str]
    object_id: Mapped[str | None]
    details: Mapped[dict[str, Any] | None]
    at: Mapped[float] = mapped_column(default=time.time)


class Webhook(Base):
    """Where a team wants its jobs' events sent. secret: what deliveries are signed with. events: their types."""

    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("hook"))
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[str]]
    is_active: Mapped[bool] = mapped_column(default=True)


class WebhookDelivery(Base):
    """One try to deliver an event. next_at: when the next try is due, None when there is none to come."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id", "attempt"),
        Index("webhook_deliveries_by_due", "next_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"))
    attempt: Mapped[int] = mapped_column(default=1)
    status_code: Mapped[int | None]
    error: Mapped[str | None]
    at: Mapped[float] = mapped_column(default=time.time)
    next_at: Mapped[float | None]
