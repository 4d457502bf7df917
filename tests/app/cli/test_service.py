"""The service's commands exist, and say clearly when there is no service or no key."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from app.cli import service
from app.cli.shell import Shell
from app.store.exclusive import ExclusiveServer

COMMANDS = ("serve", "submit", "jobs", "show", "watch", "cancel", "pause", "resume")
GROUPS = ("datasets", "plans", "devices", "keys", "teams", "whoami")


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


def served(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`s2a serve` that is expected to end by itself."""
    command = [str(Path(sys.executable).with_name("s2a")), "serve", *options]
    environment = {**os.environ, "S2A_DATA_DIR": str(folder), "S2A_RUN_SCHEDULER": "false"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_port_that_is_taken_and_a_database_that_is_taken_are_said_in_a_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = served(tmp_path, "--port", str(taken.getsockname()[1]))
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot listen on 127.0.0.1:" in done.stderr
    assert "choose another --host or --port" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr

    held = ExclusiveServer(f"sqlite:///{tmp_path / 's2a.db'}")
    held.acquire()
    try:
        done = served(tmp_path, "--port", "0")
    finally:
        held.release()
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert f"another s2a server (pid {os.getpid()}) uses" in said
    assert "SQLite allows one" in said
    assert "Traceback" not in said
    assert "s2a on http" not in said


def test_the_address_for_runners_may_be_set_apart_from_the_one_to_listen_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []
    monkeypatch.setenv("S2A_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("app.main.create_app", lambda settings: seen.append(settings) or 1 / 0)
    for url in ("", "http://api.example:8000"):
        if url:
            monkeypatch.setenv("S2A_PUBLIC_URL", url)
        CliRunner().invoke(command_line(), ["serve", "--host", "0.0.0.0", "--port", "0", "--db", "sqlite:///x.db"])
    assert [(s.public_url, s.database_url) for s in seen] == [
        ("http://127.0.0.1:0", "sqlite:///x.db"),
        ("http://api.example:8000", "sqlite:///x.db"),
    ]


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        (["--port", "99999"], {}, "less than or equal to 65535"),
        (["--db", "nonsense"], {}, "sqlite:///FILE or postgresql+psycopg://"),
        (["--db", "mysql://a/b"], {}, "sqlite:///FILE or postgresql+psycopg://"),
        (["--db", "postgresql+psycopg://127.0.0.1:1/x"], {}, "the database cannot be used: connection failed"),
        (["--db", "sqlite:///text"], {}, "the database cannot be used: file is not a database"),
        ([], {"S2A_DATA_ROOTS": "/photos"}, """S2A_DATA_ROOTS='["one", "two"]'"""),
        ([], {"S2A_POLL_S": "soon"}, "S2A_POLL_S=soon: "),
        ([], {"S2A_POLL_S": "0"}, "S2A_POLL_S=0: Input should be greater than 0"),
        ([], {"S2A_LEASE_S": "inf"}, "S2A_LEASE_S=inf: Input should be a finite number"),
        ([], {"S2A_MAX_OWN_RETRIES": "-1"}, "S2A_MAX_OWN_RETRIES=-1: Input should be greater than or equal to 0"),
        ([], {"S2A_LEASE_S": "30"}, "S2A_FENCE_S (40) < S2A_LEASE_S (30) must hold"),
        ([], {"S2A_RENEW_S": "50"}, "S2A_RENEW_S (50) < S2A_FENCE_S (40) < S2A_LEASE_S (60) must hold"),
        ([], {"S2A_EXECUTOR": "ray", "RAY_AUTH_MODE": ""}, "S2A_EXECUTOR=ray needs token authentication"),
        (
            [],
            {"S2A_EXECUTOR": "ray", "S2A_RAY_ADDRESS": "127.0.0.1:1", "S2A_RAY_REQUIRE_TOKEN": "false"},
            "S2A_RAY_ADDRESS=127.0.0.1:1: no Ray cluster can be reached there",
        ),
        ([], {"S2A_DATA_DIR": "text"}, "text: is a file, not a directory"),
    ],
)
def test_what_serve_cannot_use_is_said_in_a_line(
    options: list[str], settings: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("no database" * 100)
    port = [] if "--port" in options else ["--port", "0"]
    done = CliRunner().invoke(command_line(), ["serve", *port, *options], env=settings)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_database_of_a_newer_version_is_said(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(migrated, "newer.db")
    with contextlib.closing(sqlite3.connect("newer.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'later'")
        database.commit()
    done = CliRunner().invoke(command_line(), ["serve", "--port", "0", "--db", "sqlite:///newer.db"])
    assert done.exit_code == 2
    assert "update s2a" in done.stderr


def test_an_ipv6_address_is_bracketed_in_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setenv("S2A_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("app.main.create_app", lambda settings: seen.append(settings.public_url) or 1 / 0)
    CliRunner().invoke(command_line(), ["serve", "--host", "::1", "--port", "0"])
    assert seen == ["http://[::1]:0"]
