"""Documents of keys, teams, devices, the queue, the audit log and webhooks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.schemas.fields import Name, Page, Reason, Request, Time

Scope = Literal["read", "write", "admin"]
EventType = Literal["queued", "started", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]
Quota = Annotated[int, Field(ge=0, le=2**62)]


class KeyRequest(Request):
    """A key for a team, which is made if there is none of that name."""

    team: Name
    name: str = Field("", max_length=100)
    scopes: list[Scope] = Field(["read", "write"], min_length=1, max_length=3)
    expires_at: Time | None = Field(None, le=1e11)


class KeyOut(BaseModel):
    """A key without its secret."""

    id: str
    name: str
    team: str
    scopes: list[str]
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None


class NewKey(KeyOut):
    """A key with its text, which is shown this once."""

    key: str


class KeyPage(Page):
    """Keys, newest first."""

    items: list[KeyOut]


class TeamRequest(Request):
    """A team. weight: its share next to other teams'; a quota of null has no limit."""

    name: Name
    weight: float = Field(1.0, gt=0, le=1e6)
    quota_jobs: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    quota_bytes: Quota | None = None
    quota_byte_seconds_per_day: Quota | None = None


class TeamChange(Request):
    """What to change of a team; what is left out stays."""

    weight: float = Field(1.0, gt=0, le=1e6)
    quota_jobs: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    quota_bytes: Quota | None = None
    quota_byte_seconds_per_day: Quota | None = None


class TeamUsage(BaseModel):
    """What a team uses: jobs that run and wait, bytes reserved, and byte-seconds of the last 24 hours."""

    running_jobs: int
    waiting_jobs: int
    held_bytes: int
    byte_seconds_today: int


class TeamOut(BaseModel):
    """A team with its weight, its quotas and what it uses of them."""

    id: str
    name: str
    weight: float
    quota_jobs: int | None
    quota_bytes: int | None
    quota_byte_seconds_per_day: int | None
    usage: TeamUsage


class TeamPage(Page):
    """Teams by id."""

    items: list[TeamOut]


class HeldOut(BaseModel):
    """Memory a job holds; of another team's job only the bytes are told."""

    job_id: str | None
    name: str | None
    status: str | None
    model: str | None
    attempt: int | None
    reserved_bytes: int


class DeviceOut(BaseModel):
    """Memory that jobs share."""

    id: str
    worker: str
    kind: str
    name: str
    state: str
    reason: Reason | None
    capacity_bytes: int
    reserve_bytes: int
    context_bytes: int
    baseline_bytes: int
    used_by_others_bytes: int
    reserved_bytes: int
    free_bytes: int
    seen_at: Time
    jobs: list[HeldOut]


class DevicePage(Page):
    """Devices by id."""

    items: list[DeviceOut]


class WaitingOut(BaseModel):
    """A waiting job; of another team's only its place and its size are told."""

    position: int
    job_id: str | None
    name: str | None
    model: str | None
    priority: int
    device: str | None
    needs_bytes: int
    reason: Reason | None
    eta_at: Time | None
    created_at: Time


class QueueOut(BaseModel):
    """What runs where, what waits, and how many jobs have each status."""

    devices: list[DeviceOut]
    elsewhere: list[HeldOut]
    waiting: list[WaitingOut]
    statuses: dict[str, int]


class AuditOut(BaseModel):
    """Who changed what."""

    id: int
    team_id: str
    key_id: str | None
    action: str
    object_id: str | None
    details: dict[str, Any]
    at: Time


class AuditPage(Page):
    """The log, newest first."""

    items: list[AuditOut]


class WebhookRequest(Request):
    """Where to send which events of the team's jobs."""

    url: str = Field(min_length=8, max_length=2000, examples=["https://example.org/s2a"])
    events: list[EventType] = Field(["succeeded", "failed", "cancelled"], min_length=1, max_length=8)


class WebhookOut(BaseModel):
    """A webhook."""

    id: str
    url: str
    events: list[str]
    is_active: bool


class NewWebhook(WebhookOut):
    """A webhook with the secret its deliveries are signed with, which is shown this once."""

    secret: str


class WebhookPage(Page):
    """Webhooks by id."""

    items: list[WebhookOut]


class DeliveryOut(BaseModel):
    """One try to deliver an event."""

    id: int
    event_id: int
    attempt: int
    status_code: int | None
    error: str | None
    at: Time
    next_at: Time | None


class DeliveryPage(Page):
    """Tries, newest first."""

    items: list[DeliveryOut]


class Health(BaseModel):
    """The service answers."""

    status: Literal["ok"]
