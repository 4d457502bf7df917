"""The service's commands exist, and say clearly when there is no service or no key."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from app.cli import service
from app.cli.shell import Shell

COMMANDS = ("serve", "submit", "jobs", "show", "watch", "cancel", "pause", "resume")
GROUPS = ("datasets", "plans", "devices", "keys")


def command_line() -> typer.Typer:
    app = typer.Typer(cls=Shell)
    service.register(app)
    return app


def test_every_command_of_the_contract_is_there() -> None:
    text = CliRunner().invoke(command_line(), ["--help"]).output
    assert [name for name in (*COMMANDS, *GROUPS) if name not in text] == []
    text = CliRunner().invoke(command_line(), ["datasets", "--help"]).output
    assert all(name in text for name in ("upload", "add", "show", "remove"))


def test_without_a_service_the_exit_code_is_two_and_the_message_says_what_to_start() -> None:
    done = CliRunner().invoke(command_line(), ["jobs", "--url", "http://127.0.0.1:9", "--key", "k"])
    assert done.exit_code == 2
    assert "s2a serve" in done.output


def test_without_a_key_the_message_says_where_one_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S2A_API_KEY", raising=False)
    done = CliRunner().invoke(command_line(), ["devices"])
    assert done.exit_code == 2
    assert "S2A_API_KEY" in done.output
