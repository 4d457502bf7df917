"""Documents of /v1/jobs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from app.schemas.fields import Budget, Label, Labels, Page, Reason, Request, Time, declared
from s2a_core.amounts import parse_bytes
from s2a_core.requests import FIELDS, PLANNED_FIELDS, filled

Status = Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]
Objective = Literal["accuracy", "speed", "balanced"]
EXAMPLE: JsonDict = {"model": "vit_base_patch16_224", "data": "digits", "budget": "4GiB", "weights": "pretrained"}


class PlannedFields(Request):
    """What a plan depends on; every field may be left out."""

    data: str | None = declared("data", "Also a dataset's id; a directory is an absolute path on the service's disk.")
    weights: str | None = declared("weights", "Left out: pretrained; also the id of an upload.")
    task: Literal["classification", "multilabel", "regression", "segmentation"] | None = declared("task")
    adapter: str | None = declared("adapter")
    objective: Objective | None = declared("objective")
    batch_size: int | None = declared("batch_size")
    image_size: int | str | None = declared("image_size")
    precision: Literal["fp32", "bf16"] | None = declared("precision")
    optimizer: Literal["adamw", "adamw8bit"] | None = declared("optimizer")
    weight_format: Literal["auto", "float", "int8", "nf4"] | None = declared("weight_format")
    device: Literal["cpu", "cuda"] | None = Field(
        None, description="A kind of device; which one is the queue's choice. Left out: any kind."
    )
    seed: int | None = declared("seed")
    ema_decay: float | None = declared("ema_decay")
    drop_path: float | None = declared("drop_path")

    def said(self, *others: str) -> dict[str, Any]:
        """What was said of a run, by field; others: fields that are not a run's."""
        return self.model_dump(exclude={"budget", *others}, exclude_none=True)


class PlanRequest(PlannedFields):
    """What to plan: a model and a budget, and data or a number of classes."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    model: str = declared("model", "`GET /v1/models?q=` finds names.", ...)
    budget: Budget
    num_classes: int | None = declared("num_classes")

    @property
    def budget_bytes(self) -> int:
        """The budget; BadBudget when it cannot be read."""
        return parse_bytes(self.budget)

    def run_request(self) -> dict[str, Any]:
        """What is to be planned, with the values that hold where nothing was said."""
        return filled(self.said(), PLANNED_FIELDS)


class JobRequest(PlannedFields):
    """What to fine-tune on what within how much memory: everything here, or a plan and what it leaves open."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE, {"plan": "plan_0123456789ab"}]})

    plan: str | None = Field(None, max_length=100, description="The id of a plan that is ready.")
    model: str | None = declared("model", "`GET /v1/models?q=` finds names.")
    budget: Budget | None = None
    epochs: int | None = declared("epochs")
    lr: float | None = declared("lr")
    patience: int | None = declared("patience")
    augmentation: Literal["mild", "timm", "none"] | None = declared("augmentation")
    weight_decay: float | None = declared("weight_decay")
    warmup: float | None = declared("warmup")
    label_smoothing: float | None = declared("label_smoothing")
    mixup: float | None = declared("mixup")
    cutmix: float | None = declared("cutmix")
    workers: int | None = declared("workers")
    priority: Literal["low", "normal", "high"] = "normal"
    name: Label = ""
    metadata: Labels = Field(default_factory=dict, description="Up to 16 labels of your own.")

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
        names = [name for name in FIELDS if self.plan is None or name not in PLANNED_FIELDS]
        return filled(self.said("plan", "priority", "name", "metadata"), names)


class Phase(BaseModel):
    """A part of a run with its times."""

    name: str = Field(description="validating, profiling, planning, verifying, training or reporting.")
    started_at: Time
    ended_at: Time | None = None


JOB_EXAMPLE: JsonDict = {
    "id": "job_0123456789ab",
    "name": "photos, second try",
    "metadata": {"owner": "ana"},
    "status": "queued",
    "priority": "normal",
    "request": {**EXAMPLE, "adapter": "auto", "objective": "accuracy", "batch_size": 64, "seed": 0},
    "plan_id": None,
    "device": None,
    "budget_bytes": 4294967296,
    "planned_peak_bytes": None,
    "reason": {
        "code": "waiting_for_memory",
        "message": "needs 4.0 GiB; gpu-0 has 1.5 GiB free, job_ba9876543210 holds 6.0 GiB",
        "details": {"position": 1, "eta_at": 1767229200.0},
    },
    "phases": [],
    "report": None,
    "position": 1,
    "estimated_start_at": 1767229200.0,
    "estimated_finish_at": None,
    "attempts": 0,
    "version": 1,
    "created_at": 1767225600.0,
    "started_at": None,
    "ended_at": None,
}


class JobOut(BaseModel):
    """A job. `reason` is always there: why it waits with numbers, what it does, or how it ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_EXAMPLE]})

    id: str
    name: str
    metadata: dict[str, Any]
    status: Status
    priority: str = Field(description="low, normal or high.")
    request: dict[str, Any] = Field(description="What was asked for, with the values of what was left out.")
    plan_id: str | None = Field(description="The plan it was made from.")
    device: str | None = Field(description="The kind of device that was asked for; null for any.")
    budget_bytes: int
    planned_peak_bytes: int | None = Field(description="The predicted peak of the plan it was made from.")
    reason: Reason
    phases: list[Phase] = Field(description="Parts of the run in order, over all attempts.")
    report: dict[str, Any] | None = Field(
        description="What came of it: `accuracy`, `predicted_peak_bytes`, `measured_peak_bytes`, ... Long parts are "
        "only in the artifact report.json; `left_out` names them."
    )
    position: int | None = Field(description="Its place in the queue while it waits, from 1.")
    estimated_start_at: Time | None
    estimated_finish_at: Time | None = Field(description="While it trains, from its steps so far; never in a list.")
    attempts: int = Field(description="Processes that were started for it.")
    version: int = Field(description="Counts its changes; what ETag and If-Match carry.")
    created_at: Time
    started_at: Time | None
    ended_at: Time | None


class JobPage(Page):
    """Jobs, newest first."""

    items: list[JobOut]


class EventPage(BaseModel):
    """Events in order. has_ended: the job has ended; when the page is empty too, no event will follow."""

    items: list[dict[str, Any]] = Field(
        description="Each has `seq`, `type`, `at`, `attempt` and the fields of its type.",
        examples=[[{"seq": 7, "type": "step", "at": 1767225600.0, "attempt": 1, "step": 12, "loss": 0.93}]],
    )
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
