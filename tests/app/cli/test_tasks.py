"""Several labels, numbers and masks from the command line: guessed, planned, trained, predicted and exported."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import s2a_core.segmenter
from app.cli.main import app
from s2a_core import pipeline
from s2a_core.inference import load_run
from s2a_core.planning import Plan
from s2a_core.requests import RunRequest
from s2a_core.tasks import TASKS
from s2a_core.train import PauseTraining
from tests.s2a_core.tasks.shapes import coco, multilabel, regression, segmentation, write_shapes, write_table

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


MASK_BUDGET = 40 * 2**20
MASK_WORDS = ["s2a_tiny", "--image-size", "64", "--adapter", "bias", "--batch-size", "16", "--device", "cpu"]


def test_masks_are_trained_inside_a_third_of_full_fine_tuning(tmp_path: Path) -> None:
    data, out = segmentation(tmp_path / "data", names=("ground", "square", "disk")), tmp_path / "out"
    words = ["train", *MASK_WORDS, "--data", str(data), "--budget", str(MASK_BUDGET), "--epochs", "5"]
    done = CliRunner().invoke(app, [*words, "--output", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert "task: segmentation, a class for each pixel (guessed: images/ with masks/)" in done.stderr
    report, plan = json.loads(done.stdout), json.loads((out / "plan.json").read_text())
    (full,) = [row["peak_bytes"] for row in plan["baselines"] if row["name"] == "full"]
    assert full >= 3 * MASK_BUDGET
    assert report["within_budget"]
    predicted, measured = report["predicted_peak_bytes"], report["measured_peak_bytes"]
    assert 0.97 * predicted <= measured <= predicted
    assert report["metrics"]["miou"] > 0.6
    assert [row["name"] for row in report["by_output"]] == ["ground", "square", "disk"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(words in page for words in ("mean IoU", "disk", "of its pixels wrong", "data:image/jpeg"))
    assert "mask" not in report["mistakes"][0]

    images, masks = [data / "images/000.png", data / "images/001.jpg"], tmp_path / "masks"
    done = CliRunner().invoke(app, ["predict", str(out), *map(str, images), "--output", str(masks), "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert done.stdout == (masks / "predictions.csv").read_text()
    for row, image in zip(csv.DictReader(io.StringIO(done.stdout)), images, strict=True):
        with Image.open(row["mask"]) as answer, Image.open(data / "masks" / f"{image.stem}.png") as truth:
            assert (answer.mode, answer.size) == ("P", truth.size)
            classes = np.asarray(answer)
            assert float((classes == np.asarray(truth)).mean()) > 0.9
        assert [int(row[name]) for name in report["classes"]] == np.bincount(classes.ravel(), minlength=3).tolist()


def test_coco_annotations_are_trained_and_predicted(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="needs pycocotools: pip install 's2a[coco]'")
    data, out = coco(tmp_path / "data", 24), tmp_path / "out"
    words = ["train", "s2a_tiny", "--image-size", "48x64", "--adapter", "bias", "--batch-size", "8", "--device", "cpu"]
    words += ["--data", str(data), "--budget", "40MiB", "--epochs", "6", "--output", str(out), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "(guessed: COCO annotations of masks)" in done.stderr
    report = json.loads(done.stdout)
    assert report["within_budget"]
    assert report["classes"] == ["background", "square", "disk"]
    assert report["metrics"]["miou"] > 0.5
    image = data.parent / "images/000.png"
    done = CliRunner().invoke(app, ["predict", str(out), str(image), "--output", str(tmp_path / "masks"), "--json"])
    assert done.exit_code == 0, done.output


def test_a_run_on_masks_goes_on_where_it_was_paused(tmp_path: Path) -> None:
    data = segmentation(tmp_path / "data", 12)
    request = RunRequest(
        model="s2a_tiny", data=str(data), image_size=64, adapter="head", batch_size=4, epochs=2, device="cpu",
        budget_bytes=MASK_BUDGET, output=tmp_path / "whole",
    )  # fmt: skip
    whole = pipeline.run(request)
    plan = Plan.from_json(json.loads((tmp_path / "whole/plan.json").read_text()))

    def pause(event: dict[str, Any]) -> None:
        if event["type"] == "epoch":
            raise PauseTraining

    cut = replace(request, output=tmp_path / "cut", plan=plan)
    with pytest.raises(PauseTraining):
        pipeline.run(cut, pause)
    again = pipeline.run(replace(cut, resume=True))
    assert len(whole["step_losses"]) == 6
    assert again["step_losses"] == whole["step_losses"]
    assert again["by_output"] == whole["by_output"]


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model.onnx", "model.zip"])
def test_masks_are_exported_in_every_format(name: str, mask_run: Path, tmp_path: Path) -> None:
    if name.endswith(".onnx"):
        pytest.importorskip("onnxscript", reason="the extra s2a[onnx]")
    done = CliRunner().invoke(app, ["export", str(mask_run), str(tmp_path / name), "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["largest_difference"] < 1e-4
    if name.endswith(("t", "s")):
        assert document["format"] == "segmenter"
        assert document["load"].startswith("s2a_core.segmenter.load_segmenter(")
        model = eval(document["load"], {"s2a_core": s2a_core})
        images = torch.randn(1, 3, 32, 32)
        assert torch.allclose(model(images), load_run(mask_run).model(images), atol=1e-4)


@pytest.fixture(scope="module")
def mask_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two steps on masks of 32 pixels, with an adapter that folds into the weights."""
    root = tmp_path_factory.mktemp("masks")
    request = RunRequest(
        model="s2a_tiny", data=str(segmentation(root / "data", 8, 32)), adapter="bias", batch_size=4, epochs=1,
        device="cpu", budget_bytes=MASK_BUDGET, output=root / "out",
    )  # fmt: skip
    pipeline.run(request)
    return root / "out"


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
        (["--task", "detection"], "task must be one of classification, multilabel, regression, segmentation"),
        (["--data", "DATA", "--task", "segmentation"], "no table has what segmentation learns"),
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "make", "task"),
    [("vit_tiny_patch16_224", regression, "regression"), ("convnext_atto", segmentation, "segmentation")],
)
def test_models_of_timm_are_trained_on_images_that_are_no_squares(
    model: str, make: Callable[[Path], Path], task: str, tmp_path: Path
) -> None:
    data, out = make(tmp_path / "data"), tmp_path / "out"
    words = ["train", model, "--weights", "none", "--image-size", "96x160", "--adapter", "bias", "--batch-size", "8"]
    words += ["--data", str(data), "--budget", "120MiB", "--epochs", "1", "--device", "cpu", "--output", str(out)]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["task"], report["image_size"], report["within_budget"]) == (task, "96x160", True)
    assert 0.97 * report["predicted_peak_bytes"] <= report["measured_peak_bytes"] <= report["predicted_peak_bytes"]
    words = ["predict", str(out), str(data / "images/000.png"), "--json"]
    done = CliRunner().invoke(app, words + (["--output", str(tmp_path / "masks")] if task == "segmentation" else []))
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["export", str(out), str(tmp_path / "model.safetensors"), "--json"])
    assert done.exit_code == 0, done.output
