"""Options of the command line: those of a request, derived from its fields, and the few that many commands share."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.requests import read_config
from s2a_core.adapters.spec import ALONE, AUTO, COMBINABLE
from s2a_core.fields import Rule, check_all
from s2a_core.requests import BATCH_SIZE, DEFAULTS, FIELDS, option_of

Asked = dict[str, Any]  # what a person said, by field of the request; nothing is None
# The defaults of a command that follows no plan; its budget has to be said.
WITHOUT_PLAN = {"budget_bytes": "", "batch_size": str(BATCH_SIZE), "optimizer": "adamw", "weights": "pretrained ones"}
REQUEST = "request.yaml"  # in the output directory of a run: what was asked for, as --config reads it
RECIPE_PANEL = "How it is trained"
Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout, everything else to stderr.")]
Limit = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many, the newest.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML of the fields of a request; options win over it."),
]


def takes(names: Iterable[str], **unsaid: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The command has these fields of the request as options and is given what was said of them as `asked`.

    MODEL is its argument. unsaid: words for the default of a field where this command has one of its own, empty where
    it has none. Fields that --config says are in `asked` too. Values are checked before the command begins; the
    budget is text still.
    """
    names = tuple(names)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "asked"]
        fields = [_parameter(name, unsaid.get(name)) for name in names]
        fields.append(inspect.Parameter("config", _KEYWORD, default=None, annotation=Config))
        parameters = [p.replace(kind=_KEYWORD) for p in (own[0], *fields, *own[1:])]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            texts = {name: text for name in names if (text := values.pop(name)) is not None}
            asked = {name: text if name == "budget_bytes" else FIELDS[name].read(text) for name, text in texts.items()}
            config: Path | None = values.pop("config")
            if config is not None:
                asked = {**read_config(config, names), **asked}
            check_all({name: rule for name, rule in FIELDS.items() if name != "budget_bytes"}, asked)
            command(asked=asked, **values)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _parameter(name: str, unsaid: str | None) -> inspect.Parameter:
    """A field as a parameter of a command. Limits are the rule's to check: their words are the same at every door."""
    rule = FIELDS[name]
    complete = {"model": model_names, "adapter": adapter_names}.get(name)
    declared: Any = typer.Argument(metavar=rule.metavar, help=rule.help, show_default=False, autocompletion=complete)
    if name != "model":
        default = rule.unsaid or ("" if DEFAULTS[name] is None else str(DEFAULTS[name])) if unsaid is None else unsaid
        declared = typer.Option(
            *_names(name),
            metavar=rule.metavar or "|".join(rule.choices),
            help=_help(rule),
            autocompletion=complete or (lambda incomplete: [c for c in rule.choices if c.startswith(incomplete)]),
            show_default=default or False,
            rich_help_panel=None if rule.is_planned else RECIPE_PANEL,
        )
    return inspect.Parameter(name, _KEYWORD, default=None, annotation=Annotated[str | None, declared])


def model_names(incomplete: str) -> list[str]:
    """Models that begin with what was typed; read from the package's own list, so that a key press loads no torch."""
    models = json.loads(files("app.assets").joinpath("models.json").read_text(encoding="utf-8"))["models"]
    return [model["name"] for model in models if model["name"].startswith(incomplete)]


def adapter_names(incomplete: str) -> list[str]:
    """Adapters that begin with what was typed, after the last comma."""
    before, comma, last = incomplete.rpartition(",")
    names = COMBINABLE if comma else (AUTO, *ALONE, *COMBINABLE)
    return [f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in before.split(",")]


def _names(name: str) -> list[str]:
    """`--ema` and `--ema-decay`: every name of a field's option."""
    return list(dict.fromkeys([option_of(name), "--" + (FIELDS[name].spoken or name).replace("_", "-")]))


def _help(rule: Rule) -> str:
    is_number = rule.kind is not str and rule.spoken != "budget"
    return f"{rule.help} {rule.limits[0].upper()}{rule.limits[1:]}." if is_number and rule.limits else rule.help
