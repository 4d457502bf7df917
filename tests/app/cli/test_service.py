"""The service's commands exist and say clearly when there is no service."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from app.cli import service
from app.cli.shell import Shell


def command_line() -> typer.Typer:
    app = typer.Typer(cls=Shell)
    service.register(app)
    return app


def test_every_command_of_the_contract_is_there() -> None:
    text = CliRunner().invoke(command_line(), ["--help"]).output
    assert all(
        name in text for name in ("serve", "submit", "jobs", "show", "watch", "cancel", "pause", "resume", "keys")
    )


def test_without_a_service_the_exit_code_is_two_and_the_message_says_what_to_start() -> None:
    done = CliRunner().invoke(command_line(), ["jobs", "--url", "http://127.0.0.1:9", "--key", "k"])
    assert done.exit_code == 2
    assert "s2a serve" in done.output
