"""The tables."""

from app.models.base import Base
from app.models.operations import (
    AuditEntry,
    Device,
    DeviceState,
    EndedSession,
    IdempotencyKey,
    LeaderLease,
    Webhook,
    WebhookDelivery,
)
from app.models.resources import Dataset, DatasetStatus, Plan, PlanStatus, PredictionPair, Profile, Upload
from app.models.tables import (
    ApiKey,
    Artifact,
    Attempt,
    AttemptState,
    Checkpoint,
    Event,
    Job,
    JobStatus,
    Metric,
    Priority,
    Team,
)

__all__ = [
    "ApiKey",
    "Artifact",
    "Attempt",
    "AttemptState",
    "AuditEntry",
    "Base",
    "Checkpoint",
    "Dataset",
    "DatasetStatus",
    "Device",
    "DeviceState",
    "EndedSession",
    "Event",
    "IdempotencyKey",
    "Job",
    "JobStatus",
    "LeaderLease",
    "Metric",
    "Plan",
    "PlanStatus",
    "PredictionPair",
    "Priority",
    "Profile",
    "Team",
    "Upload",
    "Webhook",
    "WebhookDelivery",
]
