"""Masks lie below their directory as the images do, one file each, and hold the classes as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from s2a_core.inference.mask_files import MaskFiles
from s2a_core.outputs.palette import colours
from s2a_core.tasks.task import Prediction

MASK = torch.tensor([[0, 1], [2, 1]], dtype=torch.uint8)


def test_every_image_has_a_file_of_its_own(tmp_path: Path) -> None:
    paths = [tmp_path / "in" / name for name in ("a/1.jpg", "b/1.jpg", "b/2.png", "b/2.jpg", "b/3.png")]
    files = MaskFiles(tmp_path / "out", paths, 3)
    made = [files.written(Prediction(str(path), mask=MASK)) for path in paths[:4]]
    failed = files.written(Prediction(str(paths[4]), error="is not an image"))
    names = [str(Path(prediction.file).relative_to(tmp_path / "out")) for prediction in made]
    assert names == ["a/1.png", "b/1.png", "b/2.png.png", "b/2.jpg.png"]
    assert (failed.file, files.num) == ("", 4)
    assert all(prediction.mask is None for prediction in made)
    with Image.open(made[0].file) as image:
        assert (image.mode, np.asarray(image).tolist()) == ("P", MASK.tolist())
        assert image.convert("RGB").getpixel((1, 0)) == colours(3)[1]


def test_predictions_without_masks_write_nothing(tmp_path: Path) -> None:
    files = MaskFiles(tmp_path / "out", [tmp_path / "1.jpg"], 3)
    prediction = Prediction("1.jpg", ("cat",), (0.9,))
    assert files.written(prediction) == prediction
    assert files.num == 0
    assert not (tmp_path / "out").exists()
