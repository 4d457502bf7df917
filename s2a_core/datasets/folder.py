"""Finding the classes, splits and image files of an ImageFolder directory, without opening an image."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from s2a_core.datasets.access import data_access
from s2a_core.datasets.images import is_image_file
from s2a_core.datasets.split_names import TRAIN_WORDS, look_alike, rank, split_role
from s2a_core.datasets.types import Sample
from s2a_core.errors import BadDataset
from s2a_core.names import distinct, printable
from s2a_core.tasks import CLASSIFICATION
from s2a_core.tasks.task import Task

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


@dataclass
class Listing:
    """Files found under a directory; all names are printable. val: None where it has no validation part of its own;
    classes: names of the outputs of the task; task_reason: how the task was known.
    """

    root: Path
    classes: list[str] = field(default_factory=list)
    train: list[Sample] = field(default_factory=list)
    val: list[Sample] | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    task: Task = CLASSIFICATION
    task_reason: str = "each folder is a class"


def list_folder(directory: Path) -> Listing:
    """Classes and files of `directory`: CLASS/IMAGE, or {train,val}/CLASS/IMAGE, alone or under one more directory.

    Parts may have any usual name: train, test, seg_train, Training Images, val2017.
    """
    root = descend(directory)
    listing = Listing(root)
    train_root, val_root = _parts(listing, root)
    names = [entry.name for entry in _entries(train_root) if is_directory(entry)]
    labels = _labels(listing, train_root, names)
    listing.train = list(_samples(listing, labels, train_root))
    if not listing.classes:
        listing.problems.append(_no_classes(directory, listing))
        return listing
    if val_root is not None:
        inside = [entry.name for entry in _entries(val_root) if is_directory(entry)]
        unknown = [name for name in inside if _composed(name) not in labels]
        listing.problems += [f"{_name(root, val_root / n)}: no such class in the training part" for n in unknown]
        listing.val = list(_samples(listing, labels, val_root))
    _check_classes(listing, labels, train_root, val_root)
    return listing


def image_files(directory: Path) -> Iterator[Path]:
    """Every file below a directory that is an image by its suffix, sorted by name; hidden ones are passed over."""
    return (path for path in _files(directory, []) if path.suffix.lower() in IMAGE_SUFFIXES)


def _parts(listing: Listing, root: Path) -> tuple[Path, Path | None]:
    """(directory of the training classes, directory of the validation classes or None), with what is to be said."""
    folders = [entry.name for entry in _entries(root) if is_directory(entry)]
    children = {name: {e.name for e in _entries(descend(root / name)) if is_directory(e)} for name in folders}
    # A class called `train` among others holds images and no classes.
    only_parts = all(split_role(name) for name in folders)
    training = sorted((n for n in folders if split_role(n) == "train" and (children[n] or only_parts)), key=rank)
    if not any(split_role(name) in ("val", "other") for name in folders):
        training = [n for n in training if n.lower() in TRAIN_WORDS or len(folders) == 1]  # else a class: model train
    if not training:
        _check_for_parts(listing, root, children)
        return root, None
    chosen, *rest = training
    if rest:
        listing.problems.append(
            f"several directories look like the training part: {printable(', '.join(training))}; leave one, or give "
            "--data its path"
        )
    parts = sorted((name for name in folders if split_role(name) == "val"), key=rank)
    val = next((name for name in parts if children[name]), None)
    others = [name for name in folders if name not in (chosen, val)]
    unlabelled = [name for name in others if name in parts and any(image_files(root / name))]
    others = [name for name in others if name not in unlabelled]
    for name in unlabelled:
        reason = "" if children[name] else " (its images lie in no class directory, so they have no labels)"
        listing.warnings.append(f"{printable(name)}/ is not used{reason}")
    if others:
        shown = printable(", ".join(others[:5])) + _more(others, 5)
        listing.warnings.append(f"directories beside the splits are not used: {shown}")
    return descend(root / chosen), None if val is None else descend(root / val)


def _check_for_parts(listing: Listing, root: Path, children: dict[str, set[str]]) -> None:
    """Directories with the same subdirectories are parts of a dataset rather than its classes."""
    alike = look_alike(children)
    if not alike:
        return
    inside = printable(", ".join(sorted(children[alike[0]])[:3]))
    shown = printable(", ".join(alike[:5])) + _more(alike, 5)
    if any(split_role(name) for name in alike):
        listing.problems.append(
            f"{shown} look like parts of one dataset and not like classes: they hold the same directories ({inside}); "
            "name them train and val, or give --data one of them"
        )
    else:
        listing.warnings.append(f"{shown} are taken as classes although they hold the same directories ({inside})")


def _labels(listing: Listing, part: Path, names: list[str]) -> dict[str, int]:
    """Label of each class by the composed (NFC) form of its directory's name; fills `listing.classes`."""
    labels: dict[str, int] = {}
    folded: dict[str, str] = {}
    for name in names:
        if (form := _composed(name)) in labels:
            listing.problems.append(
                f"{_name(listing.root, part / name)}: two directories spell this class in different Unicode forms "
                "(composed and decomposed accents): put their images into one"
            )
            continue
        if (other := folded.setdefault(form.casefold().strip(), name)) != name:
            listing.warnings.append(f"classes {printable(other)} and {printable(name)} differ by case or spaces only")
        labels[form] = len(labels)
    listing.classes = distinct(map(printable, labels))
    return labels


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


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
    bare: list[str] = []
    for entry in _entries(part):
        if not is_directory(entry):
            is_image = Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
            (loose if is_image else other).append(_name(listing.root, Path(entry.path)))
        elif (label := labels.get(_composed(entry.name))) is not None:
            loops: list[Path] = []
            for path in _files(Path(entry.path), loops):
                name = _name(listing.root, path)
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    yield Sample(name, path, label)
                else:
                    (bare if not path.suffix and is_image_file(path) else other).append(name)
            listing.problems += [f"{_name(listing.root, path)}: is a link to a directory around it" for path in loops]
    if bare:
        listing.problems.append(
            f"{len(bare)} file(s) are images without a suffix such as .jpg, by which images are known: rename "
            f"{', '.join(bare[:3])}{_more(bare, 3)}"
        )
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


def descend(directory: Path) -> Path:
    """Through directories that hold nothing but one directory of directories, as archives often do."""
    while True:
        entries = list(_entries(directory))
        only = Path(entries[0].path) if len(entries) == 1 and is_directory(entries[0]) else None
        if only is None or not any(is_directory(entry) for entry in _entries(only)):
            return directory
        if split_role(only.name) == "train" and split_role(directory.name) != "train":
            return directory
        directory = only


def subdirectories(directory: Path) -> dict[str, Path]:
    """Visible directories in a directory by their name in lower case, sorted."""
    return {entry.name.lower(): Path(entry.path) for entry in _entries(directory) if is_directory(entry)}


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """Visible entries sorted by name. Raises BadDataset for links out of what this process may read."""
    with os.scandir(directory) as scan:
        entries = sorted((e for e in scan if not _is_hidden(e.name)), key=lambda entry: entry.name)
    access = data_access()
    if access.is_limited:
        outside = [e.name for e in entries if e.is_symlink() and not access.allows(e.path)]
        if outside:
            why = "is a link out of the directories that may be read: copy what it leads to"
            raise BadDataset(str(directory), [f"{printable(name)}: {why}" for name in outside])
    return entries


def is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a directory, or a link to one; False for a link that leads back to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _files(directory: Path, loops: list[Path], above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Files below a directory; a link to a directory around it goes to `loops` instead of being followed for ever."""
    real = directory.resolve()
    if real in above:
        loops.append(directory)
        return
    for entry in _entries(directory):
        if is_directory(entry):
            yield from _files(Path(entry.path), loops, (*above, real))
        else:
            yield Path(entry.path)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _name(root: Path, path: Path) -> str:
    return printable(path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path))


def _more(items: list[str], shown: int) -> str:
    return f" and {len(items) - shown} more" if len(items) > shown else ""
