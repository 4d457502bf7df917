"""A request is checked before anything is queued."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.schemas.jobs import JobRequest


def test_budgets_are_text_or_bytes() -> None:
    assert JobRequest(model="m", data="d", budget="4GiB").budget_bytes == 4 * 2**30
    assert JobRequest(model="m", data="d", budget=77).budget_bytes == 77


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"precision": "fp8"}, {"unknown": 1}, {"model": ""}])
def test_what_is_not_allowed_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JobRequest.model_validate({"model": "m", "data": "d", "budget": 1, **wrong})
