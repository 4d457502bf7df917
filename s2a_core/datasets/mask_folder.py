"""Images with masks: images/ and masks/ beside each other, alone or in each of train/ and val/, and classes.txt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from s2a_core.datasets.access import data_access
from s2a_core.datasets.folder import Listing, image_files, subdirectories
from s2a_core.datasets.images import UnreadableImage
from s2a_core.datasets.masks import MaskFacts, check_mask, upright_size
from s2a_core.datasets.split_names import rank, split_role
from s2a_core.datasets.types import Sample
from s2a_core.errors import BadDataset
from s2a_core.names import distinct, printable
from s2a_core.tasks import SEGMENTATION
from s2a_core.tasks.segmentation import IGNORED
from s2a_core.tasks.task import Mask

IMAGES, MASKS = "images", "masks"
CLASS_NAMES = "classes.txt"  # beside them: a name a line, in the order of the values from 0 on
GUESSED = f"guessed: {IMAGES}/ with {MASKS}/"
_SHOWN = 8  # values that a message names


@dataclass(frozen=True)
class _Part:
    """Directories of the images and masks of one split. name: of the split, empty where there is only one."""

    name: str
    images: Path
    masks: Path


def list_masks(root: Path, reason: str) -> Listing | None:
    """Images with their masks below a directory, every fault by name; None where images/ and masks/ are nowhere.

    reason: how the task was known.
    """
    parts = list(_parts(root))
    if not parts:
        return None
    listing = Listing(root, task=SEGMENTATION, task_reason=reason)
    by_role: dict[str, list[_Part]] = {"train": [], "val": []}
    for part in sorted(parts, key=lambda part: rank(part.name)):
        by_role[(split_role(part.name) or "train") if part.name else "train"].append(part)
    if len(by_role["train"]) != 1:
        there = printable(", ".join(part.name for part in by_role["train"])) or "none"
        listing.problems.append(
            f"one training part is needed, such as train/{IMAGES} and train/{MASKS}: there is {there}"
        )
    listing.warnings += [f"{printable(part.name)}/ is not used" for part in by_role["val"][1:]]
    names = _class_names(listing, root)
    facts: dict[str, MaskFacts] = {}
    train = [sample for part in by_role["train"] for sample in _samples(listing, part, facts)]
    val = [sample for part in by_role["val"][:1] for sample in _samples(listing, part, facts)]
    _check_values(listing, facts, names)
    listing.train, listing.val = train, val or None
    if not train and not listing.problems:
        listing.problems.append(f"{IMAGES}/ holds no image")
    return listing


def has_masks(root: Path) -> bool:
    """Whether images/ and masks/ are there."""
    return next(_parts(root), None) is not None


def _parts(root: Path) -> Iterator[_Part]:
    """The places with both directories: the root, or directories named like splits in it, or in both of them."""
    inside = subdirectories(root)
    if IMAGES in inside and MASKS in inside:
        splits = subdirectories(inside[IMAGES])
        if splits and all(split_role(name) in ("train", "val") for name in splits):
            yield from (_Part(name, path, inside[MASKS] / path.name) for name, path in splits.items())
        else:
            yield _Part("", inside[IMAGES], inside[MASKS])
        return
    for name, path in inside.items():
        below = subdirectories(path)
        if split_role(name) in ("train", "val") and IMAGES in below and MASKS in below:
            yield _Part(name, below[IMAGES], below[MASKS])


def _samples(listing: Listing, part: _Part, facts: dict[str, MaskFacts]) -> list[Sample]:
    """The images of a part, with the faults of pairs; adds what its masks hold to `facts`, by name."""

    def name_of(path: Path) -> str:
        return printable(path.relative_to(listing.root).as_posix())

    images, masks = _by_stem(listing, part.images, name_of), _by_stem(listing, part.masks, name_of)
    listing.problems += [
        f"{name_of(path)}: has no mask in {name_of(part.masks)}/" for key, path in images.items() if key not in masks
    ]
    listing.problems += [
        f"{name_of(path)}: has no image in {name_of(part.images)}/" for key, path in masks.items() if key not in images
    ]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        checked = dict(zip(masks, pool.map(_checked, masks.values()), strict=True))
        sizes = dict(zip(images, pool.map(_size, images.values()), strict=True))
    samples = []
    for key, path in images.items():
        fact = checked.get(key)
        label = Mask(path, (), "")  # of a faulty one, which ends in a refusal
        if isinstance(fact, MaskFacts):
            label = Mask(masks[key], tuple(value for value in fact.values if value != IGNORED), fact.digest)
            if (size := sizes[key]) is not None and size != fact.size:
                listing.problems.append(
                    f"{name_of(masks[key])}: is {_sides(fact.size)} pixels, its image {_sides(size)}"
                )
        samples.append(Sample(name_of(path), path, label))
    for key, fact in checked.items():
        if isinstance(fact, MaskFacts):
            facts[name_of(masks[key])] = fact
        else:
            listing.problems.append(f"{name_of(masks[key])}: {fact}")
    return samples


def _by_stem(listing: Listing, directory: Path, name_of: Callable[[Path], str]) -> dict[str, Path]:
    """Images below a directory by their path without its suffix; two of one name are a problem."""
    paths: dict[str, Path] = {}
    for path in image_files(directory) if directory.is_dir() else ():
        key = path.relative_to(directory).with_suffix("").as_posix()
        if key in paths:
            listing.problems.append(f"{name_of(path)}: {printable(paths[key].name)} has the same name")
        paths.setdefault(key, path)
    return paths


def _checked(path: Path) -> MaskFacts | str:
    try:
        return check_mask(path)
    except UnreadableImage as error:
        return str(error)


def _size(path: Path) -> tuple[int, int] | None:
    """Of an image that can be read: what is wrong with others is said as images are looked at."""
    try:
        return upright_size(path)
    except UnreadableImage:
        return None


def _class_names(listing: Listing, root: Path) -> list[str] | None:
    """The names of classes.txt; None without it. Raises BadDataset where it cannot be read."""
    path = root / CLASS_NAMES
    if not path.is_file():
        return None
    if not data_access().allows(path):
        raise BadDataset(str(root), [f"{CLASS_NAMES}: is a link out of the directories that may be read"])
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataset(str(root), [f"{CLASS_NAMES}: cannot be read: {error}"]) from error
    listing.problems += [f"{CLASS_NAMES} line {number}: is empty" for number, line in enumerate(lines, 1) if not line]
    if not 2 <= len(lines) <= IGNORED:
        listing.problems.append(f"{CLASS_NAMES}: names {len(lines)} class(es), there are 2 to {IGNORED} of them")
    return distinct(map(printable, lines))


def _check_values(listing: Listing, facts: Mapping[str, MaskFacts], names: Sequence[str] | None) -> None:
    """Fills the classes; values without a class are problems."""
    used = sorted({value for fact in facts.values() for value in fact.values if value != IGNORED})
    if empty := [name for name, fact in facts.items() if fact.values == (IGNORED,)]:
        listing.warnings.append(
            f"{len(empty)} mask(s) hold nothing but {IGNORED}, which is ignored: {', '.join(empty[:3])}"
        )
    if names is not None:
        listing.classes = list(names)
        for name, fact in facts.items():
            if beyond := [value for value in fact.values if len(names) <= value != IGNORED]:
                words = f"{CLASS_NAMES} names {len(names)} classes, 0 to {len(names) - 1}; {IGNORED} is ignored"
                listing.problems.append(f"{name}: holds {_values(beyond)}, and {words}")
        return
    listing.classes = [str(value) for value in range(len(used))]
    if used and used != list(range(len(used))):
        listing.problems.append(
            f"the masks hold {_values(used)}: without {CLASS_NAMES} classes are 0, 1, 2 and so on without a gap; "
            f"number them so, or name every value from 0 on in {CLASS_NAMES}, one a line"
        )
    elif len(used) == 1:
        has_ignored = any(IGNORED in fact.values for fact in facts.values())
        advice = f"; {IGNORED} is no class but ignored: write 1 instead" if has_ignored else ""
        listing.problems.append(f"the masks hold only one class (0), and there must be two{advice}")


def _values(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:_SHOWN])) + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")
    return f"the value{'s' if len(values) > 1 else ''} {shown}"


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
