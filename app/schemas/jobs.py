"""The document of POST /v1/jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from s2a_core.sizes import parse_bytes


class JobRequest(BaseModel):
    """What to fine-tune on what within how much memory. budget: bytes, or text such as 4GiB."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=200)
    data: str = Field(min_length=1, max_length=1000)
    budget: int | str
    weights: str | None = None
    adapter: str = "auto"
    objective: Literal["accuracy", "speed", "balanced"] = "accuracy"
    batch_size: int = Field(64, ge=1, le=65536)
    epochs: int = Field(3, ge=1, le=10000)
    seed: int = Field(0, ge=0)
    image_size: int | None = Field(None, ge=8, le=4096)
    precision: Literal["fp32", "bf16"] | None = None
    priority: Literal["low", "normal", "high"] = "normal"

    @property
    def budget_bytes(self) -> int:
        """The budget; BadBudget when it cannot be read."""
        return parse_bytes(self.budget)
