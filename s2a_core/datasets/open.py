"""From what a user writes after --data to an open dataset, or one error that lists everything wrong with it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from s2a_core.datasets.access import data_access
from s2a_core.datasets.archive import ARCHIVE_SUFFIXES, is_archive, unpack
from s2a_core.datasets.coco import GUESSED, SUFFIX, coco_files, list_coco
from s2a_core.datasets.digits import digits_samples
from s2a_core.datasets.folder import Listing, descend
from s2a_core.datasets.hub import hugging_face_folder, remarks_on, torchvision_folder, torchvision_names
from s2a_core.datasets.inspect import Inspection, inspect_samples
from s2a_core.datasets.mask_folder import has_masks
from s2a_core.datasets.split import stratified_split
from s2a_core.datasets.table import AS_ASKED, TABLE_SUFFIXES, list_labelled, list_table
from s2a_core.datasets.types import DatasetReport, ImageDataset, ImageSplit, Sample
from s2a_core.errors import BadDataset, InvalidInput
from s2a_core.names import printable
from s2a_core.tasks import SEGMENTATION, TASKS
from s2a_core.tasks.task import Outputs, Target, Task

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_UNBALANCED = 10  # largest class over smallest, above which the report warns


def open_dataset(
    source: str | Path,
    val_fraction: float = 0.2,
    seed: int = 0,
    cache: Path | None = None,
    task: str | None = None,
) -> ImageDataset:
    """Open and check a dataset: every image is looked at, and every problem is in the one BadDataset it raises.

    source: an ImageFolder directory (CLASS/IMAGE or {train,val}/CLASS/IMAGE), one of images with labels.csv
    (.tsv, .parquet) beside them, one of images/ and masks/, one with COCO annotations, a zip or tar of these, such a
    table or JSON under another name, `digits`, `hf:owner/name` or `owner/name` on Hugging Face, `torchvision:NAME` or a
    well-known torchvision name.
    val_fraction, seed: the stratified split made where the source has none; recorded in the report.
    cache: where archives and downloads are unpacked and masks of annotations drawn, `~/.cache/s2a/datasets` by default.
    task: the name of the one whose labels these are, guessed from them where not given.
    """
    if not 0 < val_fraction < 1:
        raise InvalidInput(f"val_fraction must lie between 0 and 1, not {val_fraction}")
    start = time.perf_counter()
    kind, listing = _list_source(str(source), _cache(cache), task)
    if task not in (None, listing.task.name):
        raise BadDataset(str(source), [_no_labels_for(str(task))])
    samples = [*listing.train, *(listing.val or [])]
    inspection = inspect_samples(samples)
    problems = [*listing.problems, *inspection.problems]
    if problems:
        raise BadDataset(str(source), problems)
    if listing.val is None:
        train, val = stratified_split(listing.train, val_fraction, seed, inspection.groups, listing.task.stratum)
        split: dict[str, object] = {"made": True, "val_fraction": val_fraction, "seed": seed}
        if not val:
            raise BadDataset(str(source), ["every class holds one image only: nothing can be held out for validation"])
    else:
        train, val = tuple(listing.train), tuple(listing.val)
        split = {"made": False}
    duplicates = _across(train, val, inspection)
    warnings = [
        *listing.warnings,
        *inspection.warnings,
        *_duplicate_warnings(listing.task, train, val, inspection, duplicates),
    ]
    counts = _counts(listing, train, val)
    warnings += _balance_warnings(listing.task, counts)
    outputs = _outputs(str(source), listing, train)
    train, val = (tuple(replace(s, label=outputs.standardised(s.label)) for s in part) for part in (train, val))
    report = DatasetReport(
        source=printable(str(source)),
        kind=kind,
        num_classes=len(listing.classes),
        num_train=len(train),
        num_val=len(val),
        class_counts=counts,
        split=split,
        sides=inspection.sides,
        modes=inspection.modes,
        value_ranges=inspection.ranges,
        duplicates=duplicates,
        warnings=tuple(warnings),
        fingerprint=inspection.fingerprint,
        scan_s=round(time.perf_counter() - start, 3),
        task=listing.task.name,
        task_reason=listing.task_reason,
        scale=outputs.scale,
    )
    train_split, val_split = (ImageSplit(samples, ranges=inspection.ranges) for samples in (train, val))
    return ImageDataset(train_split, val_split, tuple(listing.classes), report)


def _cache(given: Path | None) -> Path:
    return given or data_access().cache or Path.home() / ".cache" / "s2a" / "datasets"


def _list_source(source: str, cache: Path, task: str | None) -> tuple[str, Listing]:
    """(kind of source, files found). A name with a prefix is never a path."""
    prefix, _, name = source.partition(":")
    if prefix in ("hf", "hfds") and name:
        return "hugging face", _listed(hugging_face_folder(name, cache))
    if prefix in ("torchvision", "tv", "torch") and name:
        return "torchvision", _listed(torchvision_folder(name, cache))
    access, path = data_access(), Path(source).expanduser()
    may_be_path = path.is_absolute() or not access.is_limited  # nobody else's name is looked up where we happen to run
    if may_be_path and path.exists() and not access.allows(path):
        raise BadDataset(source, ["lies outside the directories that may be read"])
    if may_be_path and path.is_dir():
        return "directory", _directory(path, cache, task)
    if may_be_path and path.is_file():
        if path.suffix.lower() in TABLE_SUFFIXES:
            return "table", list_table(path, task)
        if path.suffix.lower() == SUFFIX:
            return "annotations", list_coco(path.parent, [path], cache, GUESSED if task is None else AS_ASKED)
        if not is_archive(path):
            archives, tables = ", ".join(ARCHIVE_SUFFIXES), ", ".join(TABLE_SUFFIXES)
            kinds = f"an archive ({archives}), a table of labels ({tables}) nor COCO annotations ({SUFFIX})"
            raise BadDataset(source, [f"is a file, but neither {kinds}"])
        return "archive", _directory(unpack(path, cache), cache, task)
    if source == "digits":
        samples, classes = digits_samples()
        return "built-in", Listing(Path(), classes, samples)
    for timm_prefix, kind in (("torch/", "torchvision"), ("hfds/", "hugging face")):
        if source.startswith(timm_prefix):
            fetch = torchvision_folder if kind == "torchvision" else hugging_face_folder
            return kind, _listed(fetch(source.removeprefix(timm_prefix), cache))
    if source.lower().replace("-", "").replace("_", "") in torchvision_names():
        return "torchvision", _listed(torchvision_folder(source, cache))
    if _HUB_NAME.fullmatch(source) and not is_archive(path) and not path.parent.is_dir():
        return "hugging face", _listed(hugging_face_folder(source, cache))
    raise BadDataset(
        source,
        [
            "no such file or directory; give a directory of images (DIR/CLASS/IMAGE), a zip or tar of one, `digits`, "
            "`torchvision:NAME` or `hf:owner/name`"
        ],
    )


def _directory(path: Path, cache: Path, task: str | None) -> Listing:
    """Masks of COCO annotations, where there are some and no masks/; else what files and folders say."""
    root = descend(path)
    if task in (None, SEGMENTATION.name) and not has_masks(root) and (files := coco_files(root)):
        return list_coco(root, files, cache, GUESSED if task is None else AS_ASKED)
    return list_labelled(path, task)


def _listed(folder: Path) -> Listing:
    """Files of a directory that was written from a hub."""
    listing = list_labelled(folder)
    listing.warnings += remarks_on(folder)
    return listing


def _no_labels_for(task: str) -> str:
    asked = TASKS[task]
    return f"it has no labels for {task} ({asked.label}), only one class an image: {asked.needs}, or leave --task out"


def _outputs(source: str, listing: Listing, train: Sequence[Sample]) -> Outputs:
    """What the outputs mean. Raises BadDataset for a column of one number, which nothing can be learned from."""
    names, scale = tuple(listing.classes), listing.task.scale
    if scale is None:
        return Outputs(listing.task, names)
    mean, std = scale([sample.label for sample in train])
    if same := [(name, value) for name, value, spread in zip(names, mean, std, strict=True) if not spread]:
        raise BadDataset(source, [f"{n} is {v:g} for every training image: there is nothing to learn" for n, v in same])
    return Outputs(listing.task, names, mean, std)


def _counts(listing: Listing, train: Sequence[Sample], val: Sequence[Sample]) -> dict[str, tuple[int, int]]:
    """Name of an output -> (training images, validation images), where the task counts them."""
    parts = [listing.task.counts(listing.classes, [sample.label for sample in part]) for part in (train, val)]
    return {name: (parts[0][i], parts[1][i]) for i, name in enumerate(listing.classes) if parts[0]}


def _across(train: Sequence[Sample], val: Sequence[Sample], inspection: Inspection) -> tuple[tuple[str, ...], ...]:
    """Groups of equal files with a member in training and one in validation."""
    held = {inspection.groups[s.name] for s in val if s.name in inspection.groups}
    both = held & {inspection.groups[s.name] for s in train if s.name in inspection.groups}
    groups: dict[int, list[str]] = {number: [] for number in sorted(both)}
    for sample in [*train, *val]:
        if inspection.groups.get(sample.name) in groups:
            groups[inspection.groups[sample.name]].append(sample.name)
    return tuple(tuple(names) for names in groups.values())


def _duplicate_warnings(
    task: Task,
    train: Sequence[Sample],
    val: Sequence[Sample],
    inspection: Inspection,
    across: Sequence[tuple[str, ...]],
) -> list[str]:
    warnings = []
    if across:
        first = " = ".join(across[0][:3])
        warnings.append(
            f"{len(across)} image(s) stand in training and in validation, so the accuracy is too good: {first}"
        )
    labels: dict[int, set[Target]] = {}
    for sample in [*train, *val]:
        if sample.name in inspection.groups:
            labels.setdefault(inspection.groups[sample.name], set()).add(sample.label)
    if mixed := [number for number, seen in labels.items() if len(seen) > 1]:
        names = [s.name for s in [*train, *val] if inspection.groups.get(s.name) == mixed[0]]
        warnings.append(f"{len(mixed)} image(s) {task.disagreement}: {' = '.join(names[:3])}")
    return warnings


def _balance_warnings(task: Task, counts: dict[str, tuple[int, int]]) -> list[str]:
    if not counts:
        return []
    sizes = {name: train for name, (train, _) in counts.items()}
    largest, smallest = max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__)
    most, fewest = sizes[largest], sizes[smallest]
    warnings = []
    if most > _UNBALANCED * max(1, fewest):
        warnings.append(f"{task.nouns[1]} are unbalanced: {largest} has {most} training images, {smallest} {fewest}")
    if unseen := [name for name, (_, val) in counts.items() if val == 0]:
        warnings.append(f"{len(unseen)} {task.nouns[0]} have no validation image: {', '.join(unseen[:5])}")
    return warnings
