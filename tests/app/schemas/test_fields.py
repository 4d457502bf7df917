"""Kinds of values: no NUL, budgets as bytes or words."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from app.schemas.fields import Budget, Labels, Text


@pytest.mark.parametrize("value", ["4GiB", 1, 2**60])
def test_budgets(value: int | str) -> None:
    assert TypeAdapter(Budget).validate_python(value) == value


@pytest.mark.parametrize("value", [0, -1, 2**61, "lots", "", None, 1.5])
def test_what_is_no_budget(value: object) -> None:
    with pytest.raises(ValidationError, match="4GiB, 512MiB or 4GB, not ") as caught:
        TypeAdapter(Budget).validate_python(value)
    assert caught.value.error_count() == 1


def test_nul_is_not_stored() -> None:
    with pytest.raises(ValidationError, match="NUL"):
        TypeAdapter(Text).validate_python("a\0b")
    with pytest.raises(ValidationError, match="NUL"):
        TypeAdapter(Labels).validate_python({"a\0": "b"})
    assert TypeAdapter(Labels).validate_python({"owner": "ana"}) == {"owner": "ana"}
