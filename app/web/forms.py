"""From a form's text to the requests the API takes, and from what is wrong with them to words beside each field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from s2a_core.adapters.spec import choices

Request = TypeVar("Request", bound=BaseModel)
Errors = dict[str, str]

DEFAULTS = {
    "model": "s2a_tiny",
    "data": "digits",
    "weights": "pretrained",
    "budget": "16MiB",
    "adapter": "auto",
    "objective": "accuracy",
    "batch_size": "64",
    "epochs": "3",
    "seed": "0",
    "priority": "normal",
}
ADAPTERS = choices()
OBJECTIVES = {
    "accuracy": ("Accuracy", "the smallest gradient error that fits"),
    "balanced": ("Balanced", "a little error for a lot of speed"),
    "speed": ("Speed", "the fastest step that fits"),
}


def read(kind: type[Request], fields: Mapping[str, str]) -> tuple[Request | None, Errors]:
    """(the request, {}) or (None, what is wrong by field). Fields that are empty are left out; `` is for the whole."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if value and name in kind.model_fields}
    try:
        return kind.model_validate(given), {}
    except ValidationError as error:
        return None, {
            ".".join(str(part) for part in found["loc"][:1]): found["msg"].removeprefix("Value error, ")
            for found in error.errors()
        }
