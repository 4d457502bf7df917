"""Forms become the API's requests."""

from __future__ import annotations

from app.schemas.jobs import JobRequest, PlanRequest
from app.web.forms import input_of, read


def test_empty_fields_are_left_out() -> None:
    body, errors = read(
        JobRequest, {"model": "m", "data": "d", "budget": "4GiB", "weights": "none", "seed": "", "num_classes": "9"}
    )
    assert errors == {}
    assert body is not None
    assert (body.weights, body.seed, body.budget_bytes) == ("none", None, 4 * 2**30)


def test_what_is_wrong_is_told_by_field() -> None:
    body, errors = read(PlanRequest, {"model": "m", "batch_size": "many"})
    assert body is None
    assert set(errors) == {"budget", "batch_size"}
    assert read(JobRequest, {"epochs": "1"})[1] == {"": "a job without a plan needs model, data, budget"}


def test_a_field_that_no_form_has_is_refused_with_the_nearest_name() -> None:
    body, errors = read(JobRequest, {"model": "m", "data": "d", "budget": "1GiB", "epohcs": "3"})
    assert body is None
    assert errors == {"": "the form has no field 'epohcs'; did you mean epochs?"}


def test_an_input_has_the_limits_and_words_of_its_rule() -> None:
    epochs, rate, device = input_of("epochs"), input_of("lr"), input_of("device")
    assert (epochs.type, epochs.attributes["min"], epochs.attributes["max"]) == ("number", "1", "10000")
    assert (rate.label, rate.attributes["step"]) == ("Learning rate", "any")
    assert device.choices == ("cpu", "cuda")
    assert input_of("batch_size").attributes["placeholder"].startswith("64")
