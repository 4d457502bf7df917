"""`s2a`: every command, registered without importing what it needs to run, so that `--help` is quick."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from app.cli.shell import Shell
from app.cli.terminal import Terminal

app = typer.Typer(
    name="s2a",
    cls=Shell,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Fine-tune any timm model inside a memory budget. `s2a plan` says what fits, `s2a train` does it.",
    epilog="Exit codes: 0 done, 2 bad input, 3 infeasible budget, 4 the job failed, 1 a bug in s2a.",
)

_HERE = "On this machine"
_COMMANDS = ("profile", "plan", "train", "predict", "export", "push", "runs", "predictions", "doctor")
_FORMER = {"accuracy": "predictions"}  # names that commands had: they go on working

for _name in _COMMANDS:
    _module = importlib.import_module(f"app.cli.{_name}")
    app.command(_name, rich_help_panel=_HERE)(getattr(_module, _name))
for _former, _name in _FORMER.items():
    app.command(_former, hidden=True)(getattr(importlib.import_module(f"app.cli.{_name}"), _name))
try:
    importlib.import_module("app.cli.service").register(app)
except ImportError as _error:  # a machine that only trains needs nothing of the service installed
    _MISSING_SERVICE: str | None = str(_error)
else:
    _MISSING_SERVICE = None


def _version(wanted: bool) -> None:
    if wanted:
        from s2a_core import __version__

        Terminal(False).say(f"s2a {__version__}")
        raise typer.Exit


@app.callback()
def s2a(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which s2a this is.")
    ] = False,
) -> None:
    """Fine-tune any timm model inside a memory budget. `s2a plan` says what fits, `s2a train` does it."""
