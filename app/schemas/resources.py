"""Documents of plans, profiles, datasets, uploads, models and accuracy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.schemas.fields import MAX_BYTES, Name, Page, Reason, Request, Time

PlanStatus = Literal["queued", "running", "ready", "infeasible", "failed"]
DatasetStatus = Literal["uploading", "validating", "ready", "refused"]


class Alternative(BaseModel):
    """What another objective or budget would give; summary: one line on what it trades against the plan."""

    name: str
    objective: str
    budget_bytes: int
    peak_bytes: int
    gradient_error: float = Field(description="Relative L2 error of the trainable gradient; 0 is exact.")
    relative_step_time: float = Field(description="Of a step, 1 where everything is kept exact.")
    summary: str


class PlanOut(BaseModel):
    """A plan. plan: the document of `s2a plan`, once it is ready. reason: why it waits, or why nothing fits."""

    id: str
    status: PlanStatus
    request: dict[str, Any]
    budget_bytes: int
    reason: Reason | None
    plan: dict[str, Any] | None
    alternatives: list[Alternative]
    profile: str | None
    created_at: Time
    ended_at: Time | None


class PlanPage(Page):
    """Plans, newest first."""

    items: list[PlanOut]


class ProfileOut(BaseModel):
    """What was measured of a model and adapter on a device."""

    fingerprint: str
    device: str
    created_at: Time
    profile: dict[str, Any]


class UploadSource(Request):
    """A zip or tar of images, or a safetensors file of weights, sent in parts.

    size: of the whole, in bytes. sha256: what has to arrive.
    """

    kind: Literal["upload"]
    size: int = Field(ge=1, le=MAX_BYTES)
    filename: str = Field("", max_length=255)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")


class NamedSource(Request):
    """Images that are there already. kind path: an absolute path of the service's machine; hub: `hf:owner/name`."""

    kind: Literal["path", "hub"]
    source: str = Field(min_length=1, max_length=1000)


class DatasetRequest(Request):
    """Images to fine-tune on, or weights to start from."""

    name: Name
    source: Annotated[UploadSource | NamedSource, Field(discriminator="kind")]


class UploadOut(BaseModel):
    """An upload: `received` of `size` bytes have arrived."""

    id: str
    dataset_id: str
    size: int
    received: int
    expires_at: Time


class DatasetOut(BaseModel):
    """A dataset, or weights. upload: while it is being sent.

    summary, once it is ready: classes, counts and warnings; of weights {contents: "weights", num_tensors,
    num_parameters, dtypes}.
    """

    id: str
    name: str
    source: dict[str, Any]
    status: DatasetStatus
    reason: Reason | None
    num_bytes: int
    sha256: str | None
    summary: dict[str, Any] | None
    upload: UploadOut | None
    created_at: Time


class DatasetPage(Page):
    """Datasets, newest first."""

    items: list[DatasetOut]


class ModelOut(BaseModel):
    """A model by timm's name. num_params is null where it was not counted."""

    name: str
    family: str
    input_size: list[int]
    pretrained: list[str]
    num_params: int | None


class ModelPage(Page):
    """Models whose name begins with what was asked for, then those that hold it."""

    items: list[ModelOut]
    total: int


class PredictionOut(BaseModel):
    """A predicted and a measured peak; error: (measured - predicted) / predicted."""

    id: int
    model: str
    adapter: str
    device: str
    precision: str
    predicted_bytes: int
    measured_bytes: int
    error: float
    source: str
    at: Time


class AccuracyPage(Page):
    """How good predictions of the peak were: over all pairs, by group, and the pairs, newest first."""

    distribution: dict[str, Any]
    by: dict[str, dict[str, dict[str, Any]]]
    items: list[PredictionOut]
