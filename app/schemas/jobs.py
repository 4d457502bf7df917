"""Documents of /v1/jobs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from app.schemas.fields import Budget, Label, Labels, Page, Reason, Request, Text, Time
from s2a_core.sizes import parse_bytes

Status = Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]
EXAMPLE: JsonDict = {"model": "vit_base_patch16_224", "data": "digits", "budget": "4GiB", "weights": "pretrained"}


class PlanRequest(Request):
    """What to plan: a model and a budget, and data or a number of classes."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    model: Text = Field(min_length=1, max_length=200)
    budget: Budget
    data: Text | None = Field(None, min_length=1, max_length=1000)
    num_classes: int | None = Field(None, ge=2, le=1_000_000)
    weights: Text | None = Field(None, max_length=1000)
    adapter: Text = Field("auto", max_length=100)
    objective: Literal["accuracy", "speed", "balanced"] = "accuracy"
    batch_size: int = Field(64, ge=1, le=65536)
    seed: int = Field(0, ge=0, le=2**31 - 1)
    image_size: int | None = Field(None, ge=8, le=4096)
    precision: Literal["fp32", "bf16"] | None = None
    device: Literal["cpu", "cuda"] | None = None

    @property
    def budget_bytes(self) -> int:
        """The budget; BadBudget when it cannot be read."""
        return parse_bytes(self.budget)


class JobRequest(Request):
    """What to fine-tune on what within how much memory: everything here, or a plan and what it leaves open.

    data: a dataset's id, an absolute path, `digits`, `torchvision:NAME` or `hf:owner/name`.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE, {"plan": "plan_0123456789ab"}]})

    plan: Text | None = Field(None, max_length=100)
    model: Text | None = Field(None, min_length=1, max_length=200)
    data: Text | None = Field(None, min_length=1, max_length=1000)
    budget: Budget | None = None
    weights: Text | None = Field(None, max_length=1000)
    adapter: Text | None = Field(None, max_length=100)
    objective: Literal["accuracy", "speed", "balanced"] | None = None
    batch_size: int | None = Field(None, ge=1, le=65536)
    epochs: int = Field(3, ge=1, le=10000)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    image_size: int | None = Field(None, ge=8, le=4096)
    precision: Literal["fp32", "bf16"] | None = None
    device: Literal["cpu", "cuda"] | None = None
    priority: Literal["low", "normal", "high"] = "normal"
    name: Label = ""
    metadata: Labels = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_whole(self) -> JobRequest:
        missing = [field for field in ("model", "data", "budget") if getattr(self, field) is None]
        if self.plan is None and missing:
            raise ValueError(f"a job without a plan needs {', '.join(missing)}")
        return self

    @property
    def budget_bytes(self) -> int | None:
        """The budget, None where the plan has it; BadBudget when it cannot be read."""
        return parse_bytes(self.budget) if self.budget is not None else None

    def run_request(self) -> dict[str, Any]:
        """What a run is asked for, with the values that hold where nothing was said."""
        found = self.model_dump(exclude={"plan", "budget", "priority", "name", "metadata"}, exclude_none=True)
        defaults = {} if self.plan else {"adapter": "auto", "objective": "accuracy", "batch_size": 64, "seed": 0}
        return {**defaults, **found}


class Phase(BaseModel):
    """A part of a run with its times."""

    name: str
    started_at: Time
    ended_at: Time | None = None


class JobOut(BaseModel):
    """A job. reason: always there while it waits and when it failed. version: what ETag and If-Match carry."""

    id: str
    name: str
    metadata: dict[str, Any]
    status: Status
    priority: str
    request: dict[str, Any]
    plan_id: str | None
    device: str | None
    budget_bytes: int
    planned_peak_bytes: int | None
    reason: Reason | None
    phases: list[dict[str, Any]]
    report: dict[str, Any] | None
    position: int | None
    estimated_start_at: Time | None
    estimated_finish_at: Time | None
    attempts: int
    version: int
    created_at: Time
    started_at: Time | None
    ended_at: Time | None


class JobPage(Page):
    """Jobs, newest first."""

    items: list[JobOut]


class EventPage(BaseModel):
    """Events in order. has_ended: the job has ended; when the page is empty too, no event will follow."""

    items: list[dict[str, Any]]
    has_ended: bool


class AttemptOut(BaseModel):
    """One process of a job."""

    id: str
    epoch: int
    state: str
    device_id: str | None
    is_live: bool
    reserved_bytes: int
    started_at: Time
    ended_at: Time | None
    heartbeat_at: Time
    progress_at: Time | None
    reason: str | None
    verdict: dict[str, Any] | None
    resumed_from_step: int | None


class AttemptList(BaseModel):
    """Attempts, the newest first."""

    items: list[AttemptOut]


class CheckpointOut(BaseModel):
    """A state a job can go on from."""

    id: str
    attempt: int
    step: int
    num_bytes: int
    sha256: str
    created_at: Time


class CheckpointList(BaseModel):
    """Checkpoints, the newest first."""

    items: list[CheckpointOut]


class Point(BaseModel):
    """One value of a series."""

    step: int
    value: float
    at: Time


class MetricsOut(BaseModel):
    """The event of every epoch, and curves by name."""

    items: list[dict[str, Any]]
    series: dict[str, list[Point]]


class ArtifactOut(BaseModel):
    """A file of a job."""

    name: str
    num_bytes: int
    sha256: str


class ArtifactList(BaseModel):
    """Files of a job, by name."""

    items: list[ArtifactOut]
