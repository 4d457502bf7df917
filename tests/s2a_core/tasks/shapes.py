"""Small pictures whose labels and numbers can be seen in them, with the tables that say them."""

from __future__ import annotations

import csv
import json
import math
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


def segmentation(root: Path, num: int = 40, side: int = 64, names: Sequence[str] = ()) -> Path:
    """A data set of masks: red squares of class 1 and, over them, blue disks of class 2 on grey noise of class 0.

    Images are JPEG or PNG in turns, masks grey or indexed. names: of classes.txt, which is not written without.
    """
    draw, noise = random.Random(0), np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(num):
        image = Image.fromarray((120 + noise.integers(0, 80, (side, side, 3))).astype(np.uint8))
        mask = Image.new("L", (side, side))
        pens = ImageDraw.Draw(image), ImageDraw.Draw(mask)
        for shape, fills in (("rectangle", ((210, 30, 30), 1)), ("ellipse", ((30, 30, 210), 2))):
            size = draw.randint(side // 4, side // 2)
            x, y = draw.randint(0, side - size), draw.randint(0, side - size)
            for pen, fill in zip(pens, fills, strict=True):
                getattr(pen, shape)((x, y, x + size, y + size), fill=fill)
        image.save(root / "images" / f"{number:03d}.{('png', 'jpg')[number % 2]}", quality=95)
        if number % 2:
            mask.putpalette([0, 0, 0, 210, 30, 30, 30, 30, 210])
        mask.save(root / "masks" / f"{number:03d}.png")
    if names:
        (root / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return root


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


def coco(root: Path, num: int = 20, name: str = "annotations.json", images: str = "images") -> Path:
    """COCO annotations of 64 x 48 pictures in root/images: a red square as a polygon, over it a blue disk as one of 16
    points. Returns the file.
    """
    draw, noise = random.Random(0), np.random.default_rng(0)
    document: dict[str, list[dict[str, object]]] = {"images": [], "annotations": []}
    document["categories"] = [{"id": 7, "name": "disk"}, {"id": 3, "name": "square"}]
    (root / images).mkdir(parents=True, exist_ok=True)
    for number in range(num):
        image = Image.fromarray((120 + noise.integers(0, 80, (48, 64, 3))).astype(np.uint8))
        pen, (x, y) = ImageDraw.Draw(image), (draw.randint(4, 30), draw.randint(4, 18))
        square = [x, y, x + 24, y, x + 24, y + 20, x, y + 20]
        turns = [2 * math.pi * step / 16 for step in range(16)]
        disk = [at for turn in turns for at in (x + 12 + 7 * math.cos(turn), y + 10 + 7 * math.sin(turn))]
        for category, polygon, colour in ((3, square, (220, 20, 20)), (7, disk, (20, 20, 220))):
            pen.polygon(polygon, fill=colour)
            annotation = {"id": len(document["annotations"]), "image_id": number, "category_id": category}
            document["annotations"].append({**annotation, "segmentation": [polygon], "iscrowd": 0})
        image.save(root / images / f"{number:03d}.png")
        document["images"].append({"id": number, "file_name": f"{number:03d}.png", "width": 64, "height": 48})
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path
