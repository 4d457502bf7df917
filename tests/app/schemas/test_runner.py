"""A runner's documents have bounds."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.schemas.runner import EventBatch, FinalState


def test_a_batch_is_bounded_and_a_final_state_is_final() -> None:
    with pytest.raises(ValidationError):
        EventBatch.model_validate({"first": 0, "events": [{"type": "log"}] * 1001})
    with pytest.raises(ValidationError):
        FinalState.model_validate({"status": "running"})
