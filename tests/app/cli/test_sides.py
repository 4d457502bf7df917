"""Images that are no squares, from the command line: planned, trained, predicted, exported, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from app.cli.main import app
from s2a_core.inference import load_run
from s2a_core.segmenter import load_segmenter
from tests.s2a_core.tasks.shapes import regression, segmentation

SIZE = "32x48"
WORDS = ["s2a_tiny", "--image-size", SIZE, "--adapter", "bias", "--batch-size", "16", "--device", "cpu"]


@pytest.mark.parametrize("make", [regression, segmentation])
def test_a_size_that_is_no_square_goes_through_every_command(make: Callable[[Path], Path], tmp_path: Path) -> None:
    data, out = make(tmp_path / "data"), tmp_path / "out"
    words = [*WORDS, "--data", str(data), "--budget", "60MiB"]
    planned = CliRunner().invoke(app, ["plan", *words, "--save", str(tmp_path / "plan.json"), "--json"])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout)["image_size"] == SIZE
    done = CliRunner().invoke(app, ["train", *words, "--epochs", "1", "--output", str(out), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["image_size"], report["within_budget"]) == (SIZE, True)
    assert load_run(out).report["data_config"]["image_size"] == SIZE

    photo = next((data / "images").rglob("*.png"))
    done = CliRunner().invoke(app, ["predict", str(out), str(photo), "--output", str(tmp_path / "said"), "--json"])
    assert done.exit_code == 0, done.output
    if make is segmentation:
        (mask,) = (tmp_path / "said").glob("*.png")
        with Image.open(mask) as answer, Image.open(photo) as image:
            assert answer.size == image.size

    name = "model.safetensors" if make is segmentation else "model.onnx"
    done = CliRunner().invoke(app, ["export", str(out), str(tmp_path / name), "--json"])
    assert done.exit_code == 0, done.output
    if make is segmentation:
        load_segmenter(tmp_path / name, "s2a_tiny", len(report["classes"]), SIZE)
        assert repr(SIZE) in json.loads(done.stdout)["load"]


def test_a_model_that_takes_squares_only_is_refused_with_advice() -> None:
    done = CliRunner().invoke(app, ["plan", "nest_tiny", "--image-size", SIZE, "--weights", "none", "--budget", "1GiB"])
    assert done.exit_code == 2
    assert f"nest_tiny cannot take images of {SIZE} pixels" in " ".join(done.stderr.split())
