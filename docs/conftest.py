"""Runs the code blocks of docs/*.md: `python` in one namespace for each page, `bash` in a folder with some photos."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).resolve().parents[1]
NUM_PHOTOS = 300


def run_shell(example: Example) -> None:
    """Evaluates a `bash` block; a command that fails is shown with what it printed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.parsed], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="module")
def photos_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A working directory with `photos/digit_N/*.png`, made of scikit-learn's digits; left again after the page."""
    folder, digits = tmp_path_factory.mktemp("page"), load_digits()
    for i, (image, label) in enumerate(zip(digits.images[:NUM_PHOTOS], digits.target, strict=False)):
        path = folder / "photos" / f"digit_{label}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype("uint8")).resize((64, 64)).convert("RGB").save(path)
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", PythonEvaluator()), CodeBlockParser("bash", run_shell)],
    patterns=["*.md", "recipes/*.md"],
    fixtures=["photos_folder"],
).pytest()
