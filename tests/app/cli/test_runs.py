"""Output directories of this machine side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from tests.s2a_core.outputs.conftest import report_document


def finished(folder: Path, lr: float, accuracy: float | None, **report: Any) -> Path:
    folder.mkdir(parents=True)
    asked = {"model": "deit_tiny_patch16_224", "lr": lr, "epochs": 3}
    document = {**report_document(), "accuracy": accuracy, "request": asked, **report}
    (folder / "report.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    finished(tmp_path / "runs" / "first", 0.001, 0.7, created_at="2026-01-01T00:00:00+00:00")
    finished(tmp_path / "runs" / "sweep" / "second", 0.01, 0.9, created_at="2026-01-02T00:00:00+00:00")
    started = tmp_path / "runs" / "third"
    started.mkdir()
    (started / "request.yaml").write_text("model: resnet18\nbudget: 1048576\n")
    return tmp_path


def say(*words: str) -> str:
    done = CliRunner().invoke(app, ["runs", *words], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    return done.stdout


def names(*words: str) -> list[str]:
    return [Path(run["name"]).name for run in json.loads(say(*words, "--json"))["items"]]


def test_runs_are_listed_in_the_order_that_was_asked_for(runs: Path) -> None:
    assert names() == ["second", "first", "third"]
    assert names("--sort", "accuracy") == ["second", "first", "third"]
    assert names("--sort", "name", "--reverse") == ["third", "second", "first"]
    assert names("--search", "deit lr=0.001") == ["first"]
    assert names("runs/sweep") == ["second"]
    assert names("runs/first", "runs") == ["second", "first", "third"], "a run that is named twice is listed once"


def test_the_table_says_what_differs_and_what_is_not_finished(runs: Path) -> None:
    text = say()
    assert "unfinished" in text
    assert "90.00 %" in text
    assert "211 MiB" in text
    header, *rows = text[text.index("what else differs") :].splitlines()
    assert " lr" in header
    assert [next(w for w in row.split() if w.startswith("0.0")) for row in rows[:2]] == ["0.01", "0.001"]
    document = json.loads(say("--json"))
    assert document["differing"]["lr"] == [0.01, 0.001, None]


def test_curves_are_drawn_as_a_picture_and_as_a_page(runs: Path) -> None:
    for name in ("c.png", "c.html"):
        say("--search", "deit", "--plot", name)
    assert (runs / "c.png").read_bytes().startswith(b"\x89PNG")
    assert "Parameters that differ" in (runs / "c.html").read_text()
    done = CliRunner().invoke(app, ["runs", "runs/third", "--plot", "c.png"])
    assert (done.exit_code, "none of these runs has a curve" in done.output) == (2, True)
    assert CliRunner().invoke(app, ["runs", "--plot", "c.pdf"]).exit_code == 2


def test_no_run_and_no_directory_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no run in runs/" in say()
    for words, message in (
        (["nowhere"], "no such directory"),
        (["."], "no run in ."),
        ([".", "--search", "x"], "that holds the words 'x'"),
    ):
        done = CliRunner().invoke(app, ["runs", *words])
        assert (done.exit_code, message in done.output) == (2, True), done.output


def test_a_search_without_a_run_says_what_it_looked_for_and_other_tasks_show_their_metric(runs: Path) -> None:
    assert "no run with the words [red]swin in runs/" in say("--search", "[red]swin")
    finished(runs / "runs" / "masks", 0.01, None, task="regression", metrics={"r2": 0.5})
    assert "R² 0.5" in " ".join(say("--search", "masks").split())
