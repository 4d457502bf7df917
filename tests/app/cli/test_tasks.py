"""Several labels and numbers from the command line: guessed, planned, trained, predicted and exported."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from app.cli.main import app
from s2a_core.inference import load_run
from s2a_core.tasks import TASKS
from tests.s2a_core.tasks.shapes import multilabel, regression, write_shapes, write_table

BUDGET = 22 * 2**20


@pytest.mark.parametrize(
    ("make", "task", "reason", "least", "columns"),
    [
        (multilabel, "multilabel", "guessed: 3 columns of 0 and 1", {"map": 0.6, "f1": 0.5}, ["red", "blue", "ring"]),
        (
            regression,
            "regression",
            "guessed: the column length_cm holds numbers with fractions",
            {"r2": 0.4},
            ["length_cm"],
        ),
    ],
)
def test_a_task_is_trained_inside_a_third_of_full_fine_tuning(
    make: Callable[[Path], Path], task: str, reason: str, least: dict[str, float], columns: list[str], tmp_path: Path
) -> None:
    data, out = make(tmp_path / "data"), tmp_path / "out"
    words = ["train", "s2a_tiny", "--data", str(data), "--budget", str(BUDGET), "--adapter", "bias", "--device", "cpu"]
    done = CliRunner().invoke(app, [*words, "--batch-size", "32", "--epochs", "4", "--output", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert f"task: {TASKS[task].sentence(reason)}" in done.stderr
    report, plan = json.loads(done.stdout), json.loads((out / "plan.json").read_text())
    (full,) = [row["peak_bytes"] for row in plan["baselines"] if row["name"] == "full"]
    assert report["within_budget"]
    assert full >= 3 * BUDGET
    assert (report["task"], report["dataset"]["task_reason"], plan["task_reason"]) == (task, reason, reason)
    assert {name: report["metrics"][name] >= value for name, value in least.items()} == dict.fromkeys(least, True)
    assert "accuracy" not in report
    best = report["history"][report["best_epoch"] - 1]
    assert report["metrics"] == {metric.name: best[f"val_{metric.name}"] for metric in TASKS[task].metrics}
    for name in ("report.html", "README.md"):
        text = (out / name).read_text(encoding="utf-8")
        assert TASKS[task].main.words in text
        assert columns[0] in text

    done = CliRunner().invoke(app, ["predict", str(out), str(data / "images"), "--format", "csv"])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    truth = list(csv.DictReader((data / "labels.csv").read_text().splitlines()))
    assert list(rows[0]) == ["path", *columns, "error"]
    pairs = torch.tensor(
        [[float(row[columns[0]]), float(true[columns[0]])] for row, true in zip(rows, truth, strict=True)]
    )
    assert float(torch.corrcoef(pairs.T)[0, 1]) > 0.5

    done = CliRunner().invoke(app, ["export", str(out), str(tmp_path / "model.safetensors"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout).get("scale", {}) == report["dataset"]["scale"] == load_run(out).outputs.scale


def test_a_plan_says_the_task_in_its_first_lines(tmp_path: Path) -> None:
    data = multilabel(tmp_path / "data", 24)
    words = ["plan", "s2a_tiny", "--data", str(data), "--budget", str(BUDGET), "--adapter", "head", "--device", "cpu"]
    done = CliRunner().invoke(app, [*words, "--batch-size", "8", "--task", "multilabel"])
    assert done.exit_code == 0, done.output
    assert "multilabel, any number of labels an image (as asked)" in done.stdout.splitlines()[1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--task", "regression"], "--task regression is planned for its data: give --data"),
        (["--data", "DATA", "--mixup", "0.2"], "mixup and cutmix blend one class an image, and this is multilabel"),
        (["--data", "DATA", "--task", "classification"], "no column that classification can be trained on"),
        (["--task", "segmentation"], "task must be one of classification, multilabel, regression"),
    ],
)
def test_what_a_task_does_not_have_is_refused_before_anything_is_measured(
    words: list[str], reason: str, tmp_path: Path
) -> None:
    data = str(multilabel(tmp_path / "data", 12))
    command = "train" if "--mixup" in words else "plan"
    words = [data if word == "DATA" else word for word in words]
    done = CliRunner().invoke(app, [command, "s2a_tiny", "--budget", "64MiB", "--device", "cpu", *words])
    assert done.exit_code == 2
    assert reason in " ".join(done.output.split())


def test_images_without_labels_and_labels_without_images_are_said_at_once(tmp_path: Path) -> None:
    rows = write_shapes(tmp_path, 4)
    table = write_table(tmp_path / "labels.csv", ("red", "blue"), [[row["red"], row["blue"]] for row in rows[:3]])
    table.write_text(table.read_text() + "images/777.png,1,0\n")
    done = CliRunner().invoke(app, ["plan", "s2a_tiny", "--data", str(tmp_path), "--budget", "64MiB", "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["details"]["problems"] == [
        "labels.csv row 5: images/777.png: no such image",
        "images/003.png: has no row in labels.csv",
    ]
