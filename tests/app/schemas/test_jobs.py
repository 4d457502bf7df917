"""A request is checked before anything is queued."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.schemas.jobs import JobRequest, PlanRequest


def test_budgets_are_text_or_bytes() -> None:
    assert JobRequest(model="m", data="d", budget="4GiB").budget_bytes == 4 * 2**30
    assert JobRequest(model="m", data="d", budget=77).budget_bytes == 77


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"precision": "fp8"}, {"unknown": 1}, {"model": ""}])
def test_what_is_not_allowed_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        JobRequest.model_validate({"model": "m", "data": "d", "budget": 1, **wrong})


def test_what_was_left_out_has_the_one_default() -> None:
    plan = PlanRequest(model="m", budget=1).run_request()
    settled = {"adapter": "auto", "objective": "accuracy", "weight_format": "auto", "batch_size": 64, "seed": 0}
    assert plan == {"model": "m", **settled}
    job = JobRequest(model="m", data="d", budget=1, weights="none").run_request()
    recipe = {"augmentation": "mild", "weight_decay": 0.01, "warmup": 0.1, "label_smoothing": 0.1}
    assert job == {**plan, **recipe, "data": "d", "weights": "none", "adapter": "full"}
    assert JobRequest(plan="plan_1", epochs=2).run_request() == {**recipe, "epochs": 2}


def test_a_size_has_one_form_however_it_is_said() -> None:
    sizes = [
        JobRequest(model="m", data="d", budget=1, image_size=said).image_size for said in (64, "64", "64x64", "64x32")
    ]
    assert sizes == [64, 64, 64, "64x32"]


def test_a_model_has_one_name_however_the_hub_calls_it() -> None:
    assert JobRequest(model="hf-hub:timm/resnet18", data="d", budget=1).model == "resnet18"
