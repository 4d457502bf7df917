"""Bad input on the command line: its exit code, what is said, and no output that looks finished."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from app.cli.main import app
from s2a_core.models import load_model

Folder = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path) -> Folder:
    """A folder of classes, `count` small pictures each."""

    def make(*classes: str, count: int = 4) -> Path:
        folder = tmp_path / "photos"
        folder.mkdir()
        for position, name in enumerate(classes):
            (folder / name).mkdir()
            for number in range(count):
                picture = Image.new("RGB", (32, 32), (80 * position, 20 * number, 90))
                picture.save(folder / name / f"{number}.png")
        return folder

    return make


def train(tmp_path: Path, data: Path | str, *options: str, model: str = "s2a_tiny", budget: str = "64MiB") -> Any:
    """(exit code, the error document) of `s2a train`; nothing that looks like a finished run may be there."""
    output = tmp_path / "out"
    words = ["train", model, "--data", str(data), "--budget", budget, "--output", str(output), "--epochs", "1"]
    result = CliRunner().invoke(app, [*words, *options, "--json"])
    assert not (output / "report.json").exists()
    return result.exit_code, json.loads(result.stdout)


def said(document: Any) -> str:
    return json.dumps(document)


def test_an_unknown_model_gives_the_nearest_names(tmp_path: Path) -> None:
    code, document = train(tmp_path, "digits", model="deit_tinyy_patch16_224")
    assert code == 2
    assert "deit_tiny_patch16_224" in said(document)


def test_a_budget_that_cannot_fit_gives_the_smallest_that_does_and_what_binds(tmp_path: Path) -> None:
    code, document = train(tmp_path, "digits", budget="100KiB")
    assert code == 3
    found = said(document)
    assert "min_feasible_budget_bytes" in found
    assert "binding" in found


@pytest.mark.parametrize(("classes", "words"), [((), "the directory is empty"), (("cat",), "one class")])
def test_a_folder_without_two_classes_is_named(
    tmp_path: Path, photos: Folder, classes: tuple[str, ...], words: str
) -> None:
    code, document = train(tmp_path, photos(*classes))
    assert code == 2
    assert words in said(document)
    assert "photos" in said(document)


def test_an_unreadable_picture_is_named(tmp_path: Path, photos: Folder) -> None:
    folder = photos("cat", "dog")
    (folder / "dog" / "broken.jpg").write_bytes(b"this is no picture")
    code, document = train(tmp_path, folder)
    assert code == 2
    assert "broken.jpg" in said(document)


def test_weights_of_another_model_give_the_first_keys(tmp_path: Path) -> None:
    weights = tmp_path / "other.safetensors"
    save_file({k: v.contiguous() for k, v in load_model("test_resnet", "none", 10).state_dict().items()}, weights)
    code, document = train(tmp_path, "digits", "--weights", str(weights), model="test_vit")
    assert code == 2
    assert "blocks.0" in said(document) or "conv1" in said(document) or "cls_token" in said(document)
