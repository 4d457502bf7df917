"""Finding the classes, splits and image files of an ImageFolder directory, without opening an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from s2a_core.datasets.types import Sample
from s2a_core.names import distinct, printable

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".dib",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tga",
        ".jp2",
        ".avif",
        ".ico",
    ]
)
TRAIN_NAMES = ("train", "training")
VAL_NAMES = ("val", "valid", "validation", "test", "testing", "eval")


@dataclass
class Listing:
    """Files found under a directory; all names are printable. val: None where it has no validation part of its own."""

    root: Path
    classes: list[str] = field(default_factory=list)
    train: list[Sample] = field(default_factory=list)
    val: list[Sample] | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def list_folder(directory: Path) -> Listing:
    """Classes and files of `directory`: CLASS/IMAGE, or {train,val}/CLASS/IMAGE, alone or under one more directory."""
    root = _descend(directory)
    folders = {entry.name.lower(): Path(entry.path) for entry in _entries(root) if entry.is_dir()}
    others = [folders[name].name for name in folders if name not in TRAIN_NAMES + VAL_NAMES]
    train_root = next((folders[name] for name in TRAIN_NAMES if name in folders), None)
    if train_root and others and not any(entry.is_dir() for entry in _entries(train_root)):
        train_root = None  # a class of that name among others: it holds images and no classes
    val_root = next((folders[name] for name in VAL_NAMES if name in folders), None) if train_root else None
    listing = Listing(root)
    if train_root and others:
        shown = printable(", ".join(others[:5])) + _more(others, 5)
        listing.warnings.append(f"directories beside the splits are not used: {shown}")
    names = [entry.name for entry in _entries(train_root or root) if entry.is_dir()]
    listing.classes = distinct(map(printable, names))
    labels = {name: label for label, name in enumerate(names)}
    listing.train = list(_samples(listing, labels, train_root or root))
    if not listing.classes:
        listing.problems.append(_no_classes(directory, listing))
        return listing
    if val_root is not None:
        unknown = [e.name for e in _entries(val_root) if e.is_dir() and e.name not in labels]
        listing.problems += [f"{_name(root, val_root / n)}: no such class in the training part" for n in unknown]
        listing.val = list(_samples(listing, labels, val_root))
    _check_classes(listing, labels, train_root or root, val_root)
    return listing


def _check_classes(listing: Listing, labels: dict[str, int], train_root: Path, val_root: Path | None) -> None:
    """Empty classes, and too few of them."""
    if len(listing.classes) == 1:
        listing.problems.append(f"only one class ({listing.classes[0]}): a classifier needs at least two directories")
    filled = {sample.label for sample in listing.train}
    for name, label in labels.items():
        if label not in filled:
            listing.problems.append(f"{_name(listing.root, train_root / name)}: the class holds no image")
    if val_root is not None and listing.val is not None:
        filled = {sample.label for sample in listing.val}
        if not filled:
            listing.problems.append(f"{_name(listing.root, val_root)}: the validation part holds no image")
        absent = [name for label, name in enumerate(listing.classes) if label not in filled]
        if filled and absent:
            listing.warnings.append(f"no validation image of {', '.join(absent[:5])}{_more(absent, 5)}")


def _samples(listing: Listing, labels: dict[str, int], part: Path) -> Iterator[Sample]:
    """Images of one part (the directory that holds the classes), sorted by name. labels: directory name -> label."""
    loose: list[str] = []
    other: list[str] = []
    for entry in _entries(part):
        if not entry.is_dir():
            is_image = Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
            (loose if is_image else other).append(_name(listing.root, Path(entry.path)))
        elif entry.name in labels:
            for path in _files(Path(entry.path)):
                name = _name(listing.root, path)
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    yield Sample(name, path, labels[entry.name])
                else:
                    other.append(name)
    if loose:
        listing.warnings.append(
            f"{len(loose)} image(s) beside the class directories are not used: {', '.join(loose[:3])}"
        )
    if other:
        listing.warnings.append(
            f"{len(other)} file(s) that are no images by their name are not used: {', '.join(other[:3])}"
        )


def _no_classes(directory: Path, listing: Listing) -> str:
    if any("beside the class" in warning for warning in listing.warnings):
        return "its images lie in no class directory: make one directory per class, DIR/CLASS/IMAGE"
    if not any(directory.iterdir()):
        return "the directory is empty: it needs DIR/CLASS/IMAGE, or DIR/train/CLASS/IMAGE and DIR/val/CLASS/IMAGE"
    return "it holds no class directories: it needs DIR/CLASS/IMAGE, or DIR/{train,val}/CLASS/IMAGE"


def _descend(directory: Path) -> Path:
    """Through directories that hold nothing but one directory of directories, as archives often do."""
    while True:
        entries = list(_entries(directory))
        only = Path(entries[0].path) if len(entries) == 1 and entries[0].is_dir() else None
        if only is None or not any(entry.is_dir() for entry in _entries(only)):
            return directory
        if only.name.lower() in TRAIN_NAMES:
            return directory
        directory = only


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """Visible entries sorted by name."""
    with os.scandir(directory) as found:
        return sorted((e for e in found if not _is_hidden(e.name)), key=lambda entry: entry.name)


def _files(directory: Path) -> Iterator[Path]:
    for entry in _entries(directory):
        if entry.is_dir():
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _name(root: Path, path: Path) -> str:
    return printable(path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path))


def _more(items: list[str], shown: int) -> str:
    return f" and {len(items) - shown} more" if len(items) > shown else ""
