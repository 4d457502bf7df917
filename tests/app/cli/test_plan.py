"""`s2a plan` explains its options, and says what it does before it loads what takes seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app

# Runs a command up to its first words, and says whether PyTorch was there already.
FIRST_WORDS = """
import io, os, sys

class Watched(io.StringIO):
    def write(self, text):
        if text.strip():
            print('torch' in sys.modules, text.strip(), file=sys.__stderr__, flush=True)
            os._exit(0)
        return super().write(text)

from app.cli.main import app
sys.stderr = Watched()
app(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["plan", "s2a_tiny", "--weights", "none", "--budget", "1GiB", "--adapter", "bias"], "profiling"),
        (["profile", "s2a_tiny", "--weights", "none"], "loading PyTorch and timm"),
        (["doctor"], "checking this machine: loading PyTorch"),
    ],
)
def test_first_words_come_before_torch(words: list[str], first: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", FIRST_WORDS, *words, "--json"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (result.stdout, result.stderr.strip()) == ("", f"False {first}")


@pytest.mark.timeout(600)  # a whole profile, beside whatever else runs
def test_phases_and_progress_go_to_stderr_and_stdout_is_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("app.cli.progress.EVERY_S", 0.0)  # or else a quick machine is done before a second line
    words = ["s2a_tiny", "--weights", "none", "--image-size", "32", "--budget", "1GiB", "--adapter", "bias", "--json"]
    result = CliRunner().invoke(app, ["plan", *words, "--batch-size", "2"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["model"] == "s2a_tiny"
    lines = result.stderr.splitlines()
    assert lines[0] == "profiling"
    # Behind it come the stages of what needs least, whose bytes are measured for the smallest budget.
    planning = lines.index("planning")
    assert any(line.startswith("profiling: site ") for line in lines[:planning])
    assert not any(line.startswith("profiling: site ") for line in lines[planning:])
