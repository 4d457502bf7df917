"""Kinds of values: text that can be stored, budgets as bytes or words."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from app.schemas.fields import Budget, Label, Labels, Request


@pytest.mark.parametrize("value", ["4GiB", 1, 2**60])
def test_budgets(value: int | str) -> None:
    assert TypeAdapter(Budget).validate_python(value) == value


@pytest.mark.parametrize("value", [0, -1, 2**61, "lots", "", None, 1.5])
def test_what_is_no_budget(value: object) -> None:
    with pytest.raises(ValidationError, match="4GiB, 512MiB or 4GB, not ") as caught:
        TypeAdapter(Budget).validate_python(value)
    assert caught.value.error_count() == 1


class Labelled(Request):
    labels: Labels
    inner: list[Label] = []


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"labels": {"a\0": "b"}}, ("labels", "a\\x00")),
        ({"labels": {"a": "\ud800"}}, ("labels", "a")),
        ({"labels": {}, "inner": ["a", "\0"]}, ("inner", 1)),
        ({"labels": {}, "\ud800": 1}, ("\\ud800",)),
    ],
)
def test_text_that_cannot_be_stored_is_refused_where_it_stands(given: object, place: tuple[object, ...]) -> None:
    with pytest.raises(ValidationError, match="cannot be stored") as caught:
        Labelled.model_validate(given)
    assert [error["loc"] for error in caught.value.errors()] == [place]


def test_labels() -> None:
    assert Labelled.model_validate({"labels": {"owner": "ana"}}).labels == {"owner": "ana"}
