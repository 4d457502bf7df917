"""COCO-style JSON: images, categories, and annotations whose polygons or run lengths become one mask an image."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2a_core.datasets.access import data_access
from s2a_core.datasets.folder import Listing, subdirectories
from s2a_core.datasets.images import UnreadableImage
from s2a_core.datasets.masks import check_mask, upright_size
from s2a_core.datasets.named_images import NamedImages
from s2a_core.datasets.run_lengths import counts_of, pixels_of
from s2a_core.datasets.split_names import rank, split_role
from s2a_core.datasets.types import Sample
from s2a_core.errors import BadDataset
from s2a_core.names import distinct, printable
from s2a_core.tasks import SEGMENTATION
from s2a_core.tasks.segmentation import IGNORED
from s2a_core.tasks.task import Mask

SUFFIX = ".json"
ANNOTATIONS = "annotations"  # the directory that holds the files in COCO's own layout
GUESSED = "guessed: COCO annotations of masks"
BACKGROUND = "background"  # what no annotation covers
_NAME = re.compile(r"(_annotations\.coco|coco|(annotations|instances)([_-].*)?)\.json", re.IGNORECASE)
_FARTHEST = 10  # sides of the image that a point may lie outside: drawing takes memory by the length of an edge
Entry = Mapping[str, Any]


@dataclass
class _Part:
    """One file. images: below which its images are; entries: of its images, by id; drawn: their annotations."""

    path: Path
    images: Path
    categories: dict[int, str]
    entries: dict[Any, Entry]
    digest: str
    drawn: dict[Any, list[Entry]] = field(default_factory=lambda: defaultdict(list))


def is_coco_name(name: str) -> bool:
    """Whether a file is looked into without being named: annotations.json, instances_train2017.json and alike."""
    return _NAME.fullmatch(name) is not None


def coco_files(root: Path) -> list[Path]:
    """Files of annotations in a directory, in annotations/, or in directories of its splits, sorted."""
    inside = subdirectories(root)
    places = [root, *(path for name, path in inside.items() if name == ANNOTATIONS or split_role(name))]
    return sorted(path for place in places for path in place.glob(f"*{SUFFIX}") if is_coco_name(path.name))


def list_coco(root: Path, files: Sequence[Path], cache: Path, reason: str) -> Listing:
    """The images of such files with their masks, which are drawn once into a directory of `cache`; faults by name.

    Classes are `background`, for pixels of no annotation, and the categories by their numbers. Where annotations
    overlap the smaller one is seen. A single file is divided, whatever its name. Raises BadDataset for a file that
    cannot be read.
    """
    listing = Listing(root, task=SEGMENTATION, task_reason=reason)
    by_role: dict[str, list[Path]] = {"train": [], "val": []}
    for path in sorted(files, key=lambda path: rank(_split_name(path))):
        by_role[(split_role(_split_name(path)) or "train") if len(files) > 1 else "train"].append(path)
    if len(by_role["train"]) != 1:
        there = printable(", ".join(path.name for path in by_role["train"])) or "none"
        listing.problems.append(f"one file of training annotations is needed, there is {there}")
    listing.warnings += [f"{_name(listing, path)} is not used" for path in by_role["val"][1:]]
    parts = {role: _part(listing, paths[0]) for role, paths in by_role.items() if paths}
    categories = next((part.categories for part in parts.values()), {})
    if any(part.categories != categories for part in parts.values()):
        listing.problems.append("the categories of training and validation are not the same")
    values = _values(listing, categories)
    samples = {role: _samples(listing, part, values, cache) for role, part in parts.items()}
    listing.train, listing.val = samples.get("train", []), samples.get("val")
    if not listing.problems and not any(isinstance(s.label, Mask) and any(s.label.classes) for s in listing.train):
        listing.problems.append("no annotation covers a pixel of the training images")
    return listing


def _split_name(path: Path) -> str:
    """What says of which split a file is: its name, or that of its directory."""
    return path.stem if split_role(path.stem) in ("train", "val") else path.parent.name


def _images_below(path: Path) -> Path:
    """Where the images of a file are: train2017/ of instances_train2017.json, else all that is beside it."""
    around = path.parent.parent if path.parent.name.lower() == ANNOTATIONS else path.parent
    inside = subdirectories(around)
    named = inside | (subdirectories(inside["images"]) if "images" in inside else {})
    return next((place for name, place in named.items() if path.stem.lower().endswith(name)), around)


def _part(listing: Listing, path: Path) -> _Part:
    """The content of a file, its faults in the listing. Raises BadDataset where it is not COCO."""
    if not data_access().allows(path):
        raise BadDataset(str(path), ["lies outside the directories that may be read"])
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise BadDataset(str(path), [f"cannot be read as JSON: {error}"]) from error
    lists = [document.get(key) if isinstance(document, dict) else None for key in ("images", ANNOTATIONS, "categories")]
    if not all(isinstance(of, list) and all(isinstance(entry, dict) for entry in of) for of in lists):
        raise BadDataset(str(path), ["is not COCO: it needs lists of images, annotations and categories"])
    images, annotations, categories = (of or [] for of in lists)
    name, problems = _name(listing, path), []
    problems += [f"category {c.get('id')!r}: has no number and name" for c in categories if not _is_category(c)]
    of_category = {c["id"]: printable(c["name"]) for c in categories if _is_category(c)}
    problems += [
        f"image {e.get('file_name') or e.get('id')!r}: has no id, file_name, width and height"
        for e in images if not _is_image(e)
    ]  # fmt: skip
    entries = {entry["id"]: entry for entry in images if _is_image(entry)}
    if len(entries) < sum(map(_is_image, images)):
        problems.append("several images have the same id")
    part = _Part(path, _images_below(path), of_category, entries, hashlib.blake2b(content, digest_size=12).hexdigest())
    for annotation in annotations:
        image_id, entry = annotation.get("image_id"), None
        if isinstance(image_id, int | str):
            entry = entries.get(image_id)
        flaw = "is of no image" if entry is None else _flaw(annotation, entry, of_category)
        if flaw is None:
            part.drawn[image_id].append(annotation)
        else:
            of_image = f" of {printable(entry['file_name'])}" if entry else ""
            problems.append(f"annotation {annotation.get('id')!r}{of_image}: {flaw}")
    listing.problems += [f"{name}: {problem}" for problem in problems]
    return part


def _is_category(entry: Entry) -> bool:
    return type(entry.get("id")) is int and isinstance(entry.get("name"), str)


def _is_image(entry: Entry) -> bool:
    sides = (entry.get("width"), entry.get("height"))
    has_size = all(type(side) is int and side > 0 for side in sides)
    return isinstance(entry.get("id"), int | str) and isinstance(entry.get("file_name"), str) and has_size


def _flaw(annotation: Entry, image: Entry, categories: Mapping[int, str]) -> str | None:
    """Why an annotation cannot be drawn."""
    width, height, shape = image["width"], image["height"], annotation.get("segmentation")
    category = annotation.get("category_id")
    if type(category) is not int or category not in categories:
        return f"its category {category!r} is not in the list"
    if isinstance(shape, dict):
        if shape.get("size") != [height, width]:
            return f"its run lengths are of {shape.get('size')}, its image is [{height}, {width}]"
        counts = counts_of(shape.get("counts"))
        return None if counts is not None and sum(counts) == height * width else "its run lengths do not fill its image"
    if not isinstance(shape, list) or not shape:
        return "has no mask (segmentation), as a box alone has none"
    farthest = _FARTHEST * max(width, height)
    for polygon in shape:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return "its polygons are no lists of x, y, x, y of three points or more"
        if not all(type(at) in (int, float) and isfinite(at) and abs(at) <= farthest for at in polygon):
            return "a polygon has points that are no numbers or far outside its image"
    return None


def _values(listing: Listing, categories: Mapping[int, str]) -> dict[int, int]:
    """Number of a category -> value of its pixels; fills the classes."""
    values: dict[int, int] = {}
    names = [BACKGROUND]
    for number, name in sorted(categories.items()):
        is_background = name.casefold() == BACKGROUND
        values[number] = 0 if is_background else len(names)
        names += [] if is_background else [name]
    if not 2 <= len(names) <= IGNORED:
        listing.problems.append(f"there are {len(names) - 1} categories, and there may be 1 to {IGNORED - 1}")
    listing.classes = distinct(names)
    return values


def _samples(listing: Listing, part: _Part, values: Mapping[int, int], cache: Path) -> list[Sample]:
    """The images of a part with their masks; those without an entry beside them are faults."""
    images, found = NamedImages.below(part.images), dict[Path, tuple[int, Entry]]()
    for number, entry in enumerate(part.entries.values()):
        path = images.named(entry["file_name"])
        if isinstance(path, str):
            listing.problems.append(f"{_name(listing, part.path)}: image {printable(entry['file_name'])}: {path}")
        elif path in found:
            listing.problems.append(f"{_name(listing, part.path)}: {_name(listing, path)} has two entries")
        else:
            found[path] = number, entry
    places = {path.parent for path in found}
    listing.problems += [
        f"{_name(listing, path)}: has no entry in {_name(listing, part.path)}"
        for path in images.by_path.values() if path.parent in places and path not in found
    ]  # fmt: skip
    folder = cache / f"coco-{part.digest}"
    folder.mkdir(parents=True, exist_ok=True)

    def drawn(image: tuple[Path, tuple[int, Entry]]) -> Mask | str | None:
        path, (number, entry) = image
        size = entry["width"], entry["height"]
        try:
            if (actual := upright_size(path)) != size:
                return f"is {actual[0]} x {actual[1]} pixels, {part.path.name} says {size[0]} x {size[1]}"
        except UnreadableImage:
            return None  # said as images are looked at
        target = folder / f"{number}.png"
        if not target.is_file():
            _write(target, mask_of(part.drawn.get(entry["id"], ()), size, values))
        facts = check_mask(target)
        return Mask(target, facts.values, facts.digest)

    is_sound, samples = not listing.problems, []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        labels = pool.map(drawn, sorted(found.items())) if is_sound else iter([None] * len(found))
        for path, label in zip(sorted(found), labels, strict=True):
            if isinstance(label, str):
                listing.problems.append(f"{_name(listing, path)}: {label}")
            samples.append(Sample(_name(listing, path), path, label if isinstance(label, Mask) else Mask(path, (), "")))
    return samples


def mask_of(annotations: Sequence[Entry], size: tuple[int, int], values: Mapping[int, int]) -> NDArray[np.uint8]:
    """The value of each pixel, [height, width], 0 where no annotation is. size: (width, height).

    Crowds are drawn first, then large ones before small ones. Raises BadDataset where no library draws polygons.
    """
    width, height = size
    mask = np.zeros((height, width), dtype=np.uint8)
    shapes = [(_pixels(annotation["segmentation"], height, width), annotation) for annotation in annotations]
    for pixels, annotation in sorted(shapes, key=lambda shape: (not shape[1].get("iscrowd"), -int(shape[0].sum()))):
        mask[pixels] = values[annotation["category_id"]]
    return mask


def _pixels(shape: Any, height: int, width: int) -> NDArray[np.bool_]:
    written = shape["counts"] if isinstance(shape, dict) else _drawn(shape, height, width)
    return pixels_of(counts_of(written) or (), height, width)


def _drawn(polygons: Sequence[Sequence[float]], height: int, width: int) -> str:
    """Run lengths of what polygons cover, as text."""
    try:
        from pycocotools import mask as drawing
    except ImportError as error:
        raise BadDataset("COCO", ["drawing polygons needs pycocotools: pip install 's2a[coco]'"]) from error
    text: bytes = drawing.merge(drawing.frPyObjects(polygons, height, width))["counts"]
    return text.decode()


def _write(target: Path, mask: NDArray[np.uint8]) -> None:
    """Whole or not at all: another process may draw the same."""
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".png", delete=False) as file:
        Image.fromarray(mask).save(file, "PNG")
    os.replace(file.name, target)


def _name(listing: Listing, path: Path) -> str:
    return printable(path.relative_to(listing.root).as_posix() if path.is_relative_to(listing.root) else path.name)
