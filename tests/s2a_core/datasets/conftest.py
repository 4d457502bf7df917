"""Small image folders to open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (12, 10)) -> Path:
    """A small noise image; the format follows the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """make_folder(parts=("",), classes=("a", "b"), num=5) -> an ImageFolder directory of noise images."""

    def make(parts: tuple[str, ...] = ("",), classes: tuple[str, ...] = ("a", "b"), num: int = 5) -> Path:
        root = tmp_path / "images"
        seed = 0
        for part in parts:
            for name in classes:
                for number in range(num):
                    seed += 1
                    write_image(root / part / name / f"{number}.png", seed)
        return root

    return make
