"""Pictures that tests make to train on."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def two_classes(folder: Path, size: int) -> Path:
    """The folder with two classes of twelve pictures, size x size."""
    for i in range(24):
        path = folder / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), (10 * i, 255 * (i % 2), 90)).save(path)
    return folder
