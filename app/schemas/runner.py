"""What a job's process sends."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class EventIn(BaseModel):
    """One event of a run."""

    type: str = Field(max_length=50)
    payload: dict[str, Any] = Field(default_factory=dict)
    at: float | None = None  # when it happened; when it arrived if None


class EventBatch(BaseModel):
    """Events in the order they happened; sent again after a failure, so `first` says the number of the first one."""

    first: int = Field(ge=0)
    events: list[EventIn] = Field(max_length=1000)


class FinalState(BaseModel):
    """How an attempt ended."""

    status: Literal["succeeded", "failed"]
    reason: dict[str, Any] | None = None
    report: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None  # whose fault it was, where the attempt can say


class DeviceUse(BaseModel):
    """What a process holds of its GPU, its context alone, and whether the driver lists it under its process id."""

    held_bytes: int = Field(ge=0)
    context_bytes: int = Field(ge=0)
    is_listed: bool


class Heartbeat(BaseModel):
    """The process lives. idle_s: seconds since its loop did something. use: what it holds of its GPU, if of one."""

    idle_s: float | None = Field(None, ge=0)
    use: DeviceUse | None = None
