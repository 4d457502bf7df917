"""Help is quick and imports no torch; bad input has its exit code and one JSON document."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from app.cli.main import app


def test_help_imports_no_torch() -> None:
    code = "import app.cli.main, sys; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["plan", "nosuch_model", "--budget", "1GiB"], 2, "unknown_model"),
        (["plan", "s2a_tiny", "--budget", "lots"], 2, "bad_budget"),
        (["plan", "s2a_tiny", "--budget", "1GiB", "--adapter", "vpt"], 2, "bad_adapter"),
        (["plan", "s2a_tiny", "--budget", "1GiB", "--batch-size", "0"], 2, "invalid_input"),
        (["plan", "s2a_tiny"], 2, "invalid_input"),
        (["plan", "s2a_tiny", "--budgte", "1GiB"], 2, "usage"),
        (["train", "s2a_tiny", "--data", "EMPTY", "--budget", "1GiB", "--output", "out"], 2, "bad_dataset"),
        (["predict", "EMPTY", "EMPTY"], 2, "invalid_input"),
    ],
)
def test_bad_input_has_a_code_and_a_document(words: list[str], code: int, kind: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    words = [str(tmp_path / "empty") if w == "EMPTY" else str(tmp_path / w) if w == "out" else w for w in words]
    for said in ([*words, "--json"], ["--json", *words]):
        result = CliRunner().invoke(app, said)
        assert result.exit_code == code
        assert json.loads(result.stdout)["error"]["code"] == kind
    assert not (tmp_path / "out").exists()


def test_help_says_what_every_argument_and_option_is() -> None:
    def silent(command: Any, path: str) -> list[str]:
        found = [f"{path} {p.name}" for p in command.params if p.name != "help" and not p.help]
        for name, child in getattr(command, "commands", {}).items():
            found += silent(child, f"{path} {name}")
        return found

    assert silent(typer.main.get_command(app), "s2a") == []
