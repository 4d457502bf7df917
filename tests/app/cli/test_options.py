"""Options explain themselves, and complete."""

from collections.abc import Iterator
from typing import Any

import typer.main
from typer.testing import CliRunner

from app.cli.main import app
from app.cli.options import adapter_names, model_names
from s2a_core.adapters.kinds import KINDS


def commands(group: Any, path: str = "s2a") -> Iterator[tuple[str, Any]]:
    """Every command of the program by what is typed for it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_every_command_says_what_it_does_and_what_each_option_means() -> None:
    told = dict(commands(typer.main.get_command(app)))
    assert len(told) > 20
    silent = [name for name, command in told.items() if not command.help]
    silent += [
        f"{name} --{option.name}"
        for name, command in told.items()
        for option in command.params
        if not getattr(option, "help", None)
    ]
    assert not silent


def test_models_and_adapters_complete() -> None:
    assert adapter_names("lora") == ["lora", "lora-lite"]
    assert "bias,prompt" in adapter_names("bias,p")
    assert "bias,bias" not in adapter_names("bias,")
    assert model_names("deit_tiny")[0].startswith("deit_tiny")
    assert model_names("s2a_") == ["s2a_tiny"]


def test_help_names_every_adapter_whole_and_no_default_that_a_command_has_not() -> None:
    shown = CliRunner().invoke(app, ["plan", "--help"], env={"COLUMNS": "80"}).stdout
    words = " ".join(shown.replace("│", " ").split())
    assert all(name in words for name in KINDS)
    assert "the plan's)]" not in words
    assert "--budget 80%" in words
