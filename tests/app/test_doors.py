"""One request, many doors: each takes every field of it, with one default and one set of limits, or says why not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer
from fastapi.testclient import TestClient
from pydantic import ValidationError
from typer.testing import CliRunner

from app.cli.main import app
from app.client import Client
from app.runner.plans import work as plan_work
from app.runner.work import run as run_work
from app.schemas.jobs import JobRequest, PlanRequest
from app.web.forms import JOB_INPUTS
from s2a_core.errors import InvalidInput, UnknownField
from s2a_core.requests import DEFAULTS, FIELDS, PLANNED_FIELDS, RunRequest, option_of, request_of, spoken_names
from s2a_core.train.types import TrainConfig

COUNTED = "the classes are counted in the data"
UNUSED = "a plan does not depend on it"
NO_BUDGET = "a profile is of no budget"
RECIPE = {name: UNUSED for name in FIELDS if name not in PLANNED_FIELDS}
# By door, the fields it does not take and why.
ABSENT: dict[str, dict[str, str]] = {
    "s2a train": {"num_classes": COUNTED},
    "s2a submit": {"num_classes": COUNTED},
    "s2a plan": RECIPE,
    "s2a plans ask": RECIPE,
    "s2a profile": {
        **dict.fromkeys((*RECIPE, "seed", "ema_decay", "optimizer"), "a profile does not depend on it"),
        "budget_bytes": NO_BUDGET,
        "objective": NO_BUDGET,
        "data": "a profile of the model alone, on random images",
        "task": "it is of data",
    },
    "POST /v1/jobs": {"num_classes": COUNTED},
    "POST /v1/plans": RECIPE,
    "Client.submit": {"num_classes": COUNTED},
    "Client.plan": RECIPE,
    "the form of a job": {"num_classes": COUNTED},
    "the form of a plan": RECIPE,
}


# Tracking is no field of the request: where it is not, and why. docs/sharing.md says what to do instead.
UNTRACKED = {
    "s2a submit": "a service keeps the curves of its jobs itself, for pages and GET /v1/jobs/{id}/metrics",
    "POST /v1/jobs": "a tracker's credentials would lie on the machine that runs everybody's jobs",
    "Client.submit": "the same, with Client.metrics to copy them from",
    "the form of a job": "the same, with the page that compares jobs",
}


def options(*path: str) -> Callable[..., set[str]]:
    """The fields that the options of a command say."""

    def fields(**_: Any) -> set[str]:
        command: Any = typer.main.get_command(app)
        for word in path:
            command = command.commands[word]
        flags = {option for parameter in command.params for option in parameter.opts}
        return {name for name in FIELDS if option_of(name) in flags or (name == "model" and "model" in flags)}

    return fields


def of(names: Collection[str]) -> set[str]:
    """Fields of the request among names as people write them."""
    return {name for name, spoken in zip(FIELDS, spoken_names(), strict=True) if spoken in names}


def form(path: str) -> Callable[..., set[str]]:
    """The fields that the inputs of a page say."""

    class Inputs(HTMLParser):
        names: set[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag in ("input", "select"):
                self.names.add(str(dict(attrs).get("name")))

    def fields(service: TestClient) -> set[str]:
        inputs = Inputs()
        inputs.names = set()
        key = str(service.headers.pop("Authorization").split()[1])
        service.post("/sign-in", data={"key": key})
        inputs.feed(service.get(path).text)
        return of(inputs.names)

    return fields


DOORS: dict[str, Callable[..., set[str]]] = {
    **{f"s2a {name}": options(*name.split()) for name in ("train", "submit", "plan", "plans ask", "profile")},
    "POST /v1/jobs": lambda **_: of(JobRequest.model_fields),
    "POST /v1/plans": lambda **_: of(PlanRequest.model_fields),
    "Client.submit": lambda **_: of(inspect.signature(Client.submit).parameters),
    "Client.plan": lambda **_: of(inspect.signature(Client.plan).parameters),
    "the form of a job": form("/jobs/new"),
    "the form of a plan": form("/plans"),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_field_can_be_said_or_the_reason_is_here(door: str, service: TestClient) -> None:
    missing = set(FIELDS) - DOORS[door](service=service)
    assert missing == set(ABSENT[door])
    assert all(ABSENT[door].values())


def test_a_run_is_tracked_where_its_credentials_are_and_jobs_keep_their_own_curves() -> None:
    def flags(name: str) -> set[str]:
        command: Any = typer.main.get_command(app)
        return {option for parameter in command.commands[name].params for option in parameter.opts}

    assert "--track" in flags("train")
    places = {
        "s2a submit": flags("submit"),
        "POST /v1/jobs": set(JobRequest.model_fields),
        "Client.submit": set(inspect.signature(Client.submit).parameters),
        "the form of a job": {input_.name for input_ in JOB_INPUTS},
    }
    assert {door for door, names in places.items() if not {"--track", "track"} & names} == set(UNTRACKED)
    assert callable(Client.metrics)
    page = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text()
    assert "Jobs of a service are not tracked this way" in page


def test_choices_are_the_same_at_every_door_that_writes_them_out() -> None:
    """Editors complete a Literal and no list that is made as the program runs, so client and API repeat them."""
    submit, plan = (inspect.get_annotations(getattr(Client, name), eval_str=True) for name in ("submit", "plan"))
    for name, rule in FIELDS.items():
        documents = [
            kind.model_fields[name].annotation for kind in (JobRequest, PlanRequest) if name in kind.model_fields
        ]
        for annotation in (*documents, *(of_door[name] for of_door in (submit, plan) if name in of_door)):
            literals = [part for part in get_args(annotation) if get_origin(part) is Literal]
            if rule.choices:
                assert [get_args(literal) for literal in literals] == [rule.choices], name


@pytest.mark.parametrize("document", [JobRequest, PlanRequest])
def test_the_api_has_no_default_of_its_own(document: type[JobRequest] | type[PlanRequest]) -> None:
    for name in set(FIELDS) & set(document.model_fields):
        field = document.model_fields[name]
        assert field.is_required() or field.default is None, name


@pytest.mark.parametrize("name", ["Client.submit", "Client.plan"])
def test_neither_has_the_client(name: str) -> None:
    parameters = inspect.signature(getattr(Client, name.split(".")[1])).parameters
    assert {p.default for p in parameters.values() if p.kind is p.KEYWORD_ONLY} == {None}


def test_the_training_loops_own_defaults_are_those_of_the_request() -> None:
    shared = set(DEFAULTS) & set(TrainConfig.__dataclass_fields__) - {"epochs"}
    assert {name: getattr(TrainConfig(), name) for name in shared} == {name: DEFAULTS[name] for name in shared}


WRONG: list[tuple[str, Any]] = [
    ("epochs", 0), ("epochs", "many"), ("batch_size", 70_000), ("lr", 0), ("patience", 0), ("ema_decay", 1.0),
    ("augmentation", "wild"), ("objective", "best"), ("precision", "fp8"), ("seed", -1), ("image_size", 7),
    ("image_size", "384x5000"), ("image_size", "384by640"),
    ("task", "multi"), ("device", "tpu"),
    ("weight_decay", 2.0), ("warmup", 1.0), ("label_smoothing", -0.1), ("workers", 65),
    ("mixup", -1.0), ("cutmix", 11.0), ("drop_path", 1.0), ("adapter", "loraa"), ("adapter", "full,bias"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_limit_has_the_same_words_at_every_door(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        RunRequest("m", **{name: value})
    words = refused.value.message
    with pytest.raises(ValidationError) as invalid:
        JobRequest.model_validate({"model": "m", "data": "d", "budget": 1, name: value})
    assert [error["msg"] for error in invalid.value.errors()] == [words]
    done = CliRunner().invoke(app, ["train", "m", "--data", "digits", option_of(name), str(value)])
    assert done.exit_code == 2
    assert words in done.output


def test_a_misspelt_field_is_refused_with_the_nearest_name_everywhere(service: TestClient) -> None:
    good = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
    for path, body in (("/v1/jobs", good), ("/v1/plans", good)):
        answer = service.post(path, json={**body, "batchsize": 3})
        assert answer.status_code == 422
        problem = answer.json()
        assert problem["title"] == "/batchsize: the request has no field 'batchsize'; did you mean batch_size?"
        assert problem["errors"][0]["pointer"] == "/batchsize"
    nested = service.post("/v1/datasets", json={"name": "d", "source": {"kind": "path", "sourse": "x"}})
    assert "did you mean source" in nested.text
    client = Client("http://nobody", "k")
    for ask in (client.submit, client.plan):
        with pytest.raises(UnknownField, match="did you mean batch_size"):
            ask(model="m", batchsize=3)
    with pytest.raises(UnknownField, match="did you mean epochs"):
        request_of({"model": "m", "epohcs": 3})
    done = CliRunner().invoke(app, ["train", "m", "--epohcs", "3"])
    assert done.exit_code == 2
    assert "--epochs" in done.output


def test_the_runner_refuses_what_it_does_not_know(tmp_path: Any) -> None:
    access = {"roots": [], "cache": str(tmp_path), "uses_hub_token": False}

    class Link:
        reserved_bytes = 0

        def request(self) -> dict[str, Any]:
            request = {"model": "s2a_tiny", "data": "digits", "epohcs": 3}
            return {"request": request, "resume": False, "data_access": access}

    status, reason, _, _ = run_work(Link(), tmp_path)  # type: ignore[arg-type]
    assert (status, reason and reason["code"]) == ("failed", "unknown_field")
    order = {"request": {"model": "s2a_tiny", "epohcs": 3, "budget_bytes": 2**26, "batch_size": 4}}
    with pytest.raises(UnknownField, match="did you mean epochs"):
        plan_work({**order, "profiles": str(tmp_path), "data_access": access})
