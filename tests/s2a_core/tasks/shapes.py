"""Small pictures whose labels and numbers can be seen in them, with the tables that say them."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32


def write_shapes(root: Path, num: int = 120, seed: int = 0) -> list[dict[str, float]]:
    """`num` pictures root/images/NNN.png with noise and any of a red square, a blue square and a green ring.

    Returns for each {"red", "blue", "ring"}: 0 or 1, and {"width"}: of a black bar, 1 to 28 pixels.
    """
    draw, noise = random.Random(seed), np.random.default_rng(seed)
    rows: list[dict[str, float]] = []
    (root / "images").mkdir(parents=True, exist_ok=True)
    for number in range(num):
        row = {name: float(draw.random() < 0.5) for name in ("red", "blue", "ring")}
        row["width"] = float(draw.randint(1, 28))
        image = Image.fromarray((200 + noise.integers(0, 40, (SIDE, SIDE, 3))).astype(np.uint8))
        pen = ImageDraw.Draw(image)
        if row["red"]:
            pen.rectangle((2, 2, 13, 13), fill=(210, 30, 30))
        if row["blue"]:
            pen.rectangle((18, 2, 29, 13), fill=(30, 30, 210))
        if row["ring"]:
            pen.ellipse((8, 15, 19, 24), outline=(0, 120, 0), width=3)
        pen.rectangle((1, 27, row["width"], 30), fill=(0, 0, 0))
        image.save(root / "images" / f"{number:03d}.png")
        rows.append(row)
    return rows


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    """A table with a column of paths before these: one row for each picture."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *columns])
        writer.writerows([f"images/{number:03d}.png", *row] for number, row in enumerate(rows))
    return path


def multilabel(root: Path, num: int = 120) -> Path:
    """A data set of three labels, in columns of 0 and 1."""
    rows = write_shapes(root, num)
    names = ("red", "blue", "ring")
    write_table(root / "labels.csv", names, [[int(row[name]) for name in names] for row in rows])
    return root


def regression(root: Path, num: int = 120) -> Path:
    """A data set of one number, in centimetres with a fraction: a tenth of the bar's pixels."""
    rows = write_shapes(root, num)
    write_table(root / "labels.csv", ("length_cm",), [[row["width"] / 10] for row in rows])
    return root
