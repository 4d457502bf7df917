"""From a form's text to the requests the API takes, and from what is wrong with them to words beside each field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.schemas.jobs import JobRequest, PlanRequest
from s2a_core.adapters.spec import choices
from s2a_core.errors import UnknownField
from s2a_core.fields import require_known
from s2a_core.requests import DEFAULTS as CORE_DEFAULTS
from s2a_core.requests import FIELDS, PLANNED_FIELDS

Request = TypeVar("Request", bound=BaseModel)
Errors = dict[str, str]

DEFAULTS = {
    "model": "s2a_tiny",
    "data": "digits",
    "weights": "pretrained",
    "budget": "16MiB",
    "adapter": "auto",
    "objective": "accuracy",
    "priority": "normal",
}
ADAPTERS = choices()
OBJECTIVES = {
    "accuracy": ("Accuracy", "the smallest gradient error that fits"),
    "balanced": ("Balanced", "a little error for a lot of speed"),
    "speed": ("Speed", "the fastest step that fits"),
}


# Fields that the template places itself, with what only a page can offer: suggestions, choices in words.
PLACED = ("model", "data", "budget_bytes", "weights", "adapter", "objective", "epochs")
LABELS = {"lr": "Learning rate", "ema_decay": "Average of the weights"}


@dataclass(frozen=True)
class Input:
    """A field of a request as a form shows it. choices: of a select; attributes: of an input."""

    name: str
    label: str
    hint: str
    type: str
    unsaid: str
    attributes: Mapping[str, Any]
    choices: tuple[str, ...] = ()


def input_of(name: str) -> Input:
    """A field with the limits and words of its rule."""
    rule, default = FIELDS[name], CORE_DEFAULTS[name]
    unsaid = rule.unsaid or ("" if default is None else str(default))
    choices = ("cpu", "cuda") if name == "device" else rule.choices
    attributes = {"placeholder": unsaid}
    is_number = rule.kind is not str and rule.numbers is None
    if is_number:
        limits = {"min": rule.minimum if rule.above is None else rule.above, "max": rule.maximum}
        attributes |= {key: f"{value:.15g}" for key, value in limits.items() if value is not None}
        attributes |= {"step": "any"} if rule.kind is float else {}
    label = LABELS.get(name, name.replace("_", " ").capitalize())
    return Input(name, label, rule.help, "number" if is_number else "text", unsaid, attributes, choices)


def inputs(names: Iterable[str]) -> list[Input]:
    """The fields that a template shows in a loop."""
    return [input_of(name) for name in names if name not in PLACED]


PLAN_INPUTS = inputs(PLANNED_FIELDS)
JOB_INPUTS = inputs(name for name in FIELDS if name != "num_classes")
RECIPE_INPUTS = inputs(name for name in FIELDS if name not in PLANNED_FIELDS)
EPOCHS = input_of("epochs")


def read(kind: type[Request], fields: Mapping[str, str]) -> tuple[Request | None, Errors]:
    """(the request, {}) or (None, what is wrong by field). Fields that are empty are left out; `` is for the whole.

    A plan's form takes the fields of a job's, which it has no use for: one form has a button for each.
    """
    try:
        require_known(fields, {**JobRequest.model_fields, **PlanRequest.model_fields}, "the form")
    except UnknownField as error:
        return None, {"": error.message}
    given: dict[str, Any] = {name: value for name, value in fields.items() if value and name in kind.model_fields}
    try:
        return kind.model_validate(given), {}
    except ValidationError as error:
        return None, {
            ".".join(str(part) for part in each["loc"][:1]): each["msg"].removeprefix("Value error, ")
            for each in error.errors()
        }
