"""Predictions are probabilities of named classes; a broken file is an answer, not a crash."""

from pathlib import Path

import pytest
import torch

from s2a_core.datasets import open_dataset
from s2a_core.errors import InvalidInput
from s2a_core.inference import find_images, load_run, predict


def test_files_and_folders_are_predicted(finished: tuple[Path, torch.nn.Module, str], tmp_path: Path) -> None:
    sample = open_dataset("digits").val.samples[0]
    assert isinstance(sample.source, bytes)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(sample.source)
    (tmp_path / "in" / "b.png").write_bytes(b"rubbish")
    good, bad = predict(load_run(finished[0]), find_images([tmp_path / "in"]), top=10)
    assert sum(good.probabilities) == pytest.approx(1, abs=1e-5)
    assert set(good.classes) == set(map(str, range(10)))
    assert bad.error == "is not an image"


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        find_images([tmp_path / "none.png"])
