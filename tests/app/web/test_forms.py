"""Forms become the API's requests."""

from __future__ import annotations

from app.schemas.jobs import JobRequest, PlanRequest
from app.web.forms import read


def test_empty_fields_are_left_out() -> None:
    body, errors = read(
        JobRequest, {"model": "m", "data": "d", "budget": "4GiB", "weights": "none", "seed": "", "x": "y"}
    )
    assert errors == {}
    assert body is not None
    assert (body.weights, body.seed, body.budget_bytes) == ("none", None, 4 * 2**30)


def test_what_is_wrong_is_told_by_field() -> None:
    body, errors = read(PlanRequest, {"model": "m", "batch_size": "many"})
    assert body is None
    assert set(errors) == {"budget", "batch_size"}
    assert read(JobRequest, {"epochs": "1"})[1] == {"": "a job without a plan needs model, data, budget"}
