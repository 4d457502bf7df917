"""Labels from a table beside images: a column of paths, one of classes and, where there is one, of splits."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s2a_core.datasets.access import data_access
from s2a_core.datasets.folder import Listing, descend, image_files, list_folder
from s2a_core.datasets.split_names import split_role
from s2a_core.datasets.types import Sample
from s2a_core.errors import BadDataset
from s2a_core.names import distinct, printable

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
TABLE_NAME = "labels"  # labels.csv in a directory of images; others are named by --data
PATH_COLUMNS = ("path", "file_name", "filename", "file", "image", "image_path", "image_id", "id")
LABEL_COLUMNS = ("label", "class", "class_name", "category", "target")
SPLIT_COLUMNS = ("split", "subset", "fold", "part")
Row = Mapping[str, str]


@dataclass
class _Columns:
    """Names of the columns that are used."""

    path: str
    label: str
    split: str | None


@dataclass
class _Images:
    """The images below a directory, by their relative path and, where only one has it, by name and by bare name."""

    root: Path
    by_path: dict[str, Path] = field(default_factory=dict)
    by_name: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def below(cls, root: Path) -> _Images:
        images = cls(root)
        for path in image_files(root):
            images.by_path[path.relative_to(root).as_posix()] = path
            for name in {path.name, path.stem}:
                images.by_name[name].append(path)
        return images

    def named(self, text: str) -> Path | str:
        """The image of a row, or why there is none."""
        relative = text.replace("\\", "/").removeprefix("./")
        if relative.startswith("/") or ".." in relative.split("/"):
            return "leads out of the directory of the images: paths are relative to the table"
        if relative in self.by_path:
            return self.by_path[relative]
        alike = [] if "/" in relative else self.by_name.get(relative, [])
        if len(alike) > 1:
            return f"{len(alike)} images have this name: give its path"
        return alike[0] if alike else "no such image"


def list_labelled(directory: Path) -> Listing:
    """By its folders; where those are no classes and labels.csv (.tsv, .parquet) lies beside them, as that says."""
    listing, root = list_folder(directory), descend(directory)
    tables = [path for suffix in TABLE_SUFFIXES if (path := root / f"{TABLE_NAME}{suffix}").is_file()]
    if tables and (listing.problems or len(listing.classes) < 2):
        return list_table(tables[0])
    for table in tables:
        advice = f"the folders are the classes; --data DIR/{table.name} reads it"
        listing.warnings.append(f"{table.name} is not used: {advice}")
    return listing


def list_table(table: Path) -> Listing:
    """Classes and images of a table; images are looked for in its directory and below.

    Columns are known by their names (PATH_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS); one other column is the label.
    Every row without an image and every image without a row is a problem of the listing, by name.
    Raises BadDataset for a table that cannot be read or whose columns are not clear.
    """
    rows = _rows(table)
    columns = _columns(table, rows)
    listing, images = Listing(table.parent), _Images.below(table.parent)
    chosen: dict[Path, tuple[int, str, str]] = {}  # image -> (row, label, split)
    for number, row in enumerate(rows, start=2):  # as an editor counts them: the first line names the columns
        text, label = row[columns.path].strip(), row[columns.label].strip()
        image = images.named(text)
        if isinstance(image, str):
            listing.problems.append(f"{table.name} row {number}: {text or 'no path'}: {image}")
        elif not label:
            listing.problems.append(f"{table.name} row {number}: {text}: no label")
        elif image in chosen:
            listing.problems.append(f"{table.name} row {number}: {text} stands in row {chosen[image][0]} already")
        else:
            chosen[image] = (number, label, row[columns.split] if columns.split else "train")
    unnamed = [name for name, path in images.by_path.items() if path not in chosen]
    if not listing.problems or len(unnamed) < len(images.by_path):
        listing.problems += [f"{name}: has no row in {table.name}" for name in unnamed]
    classes = sorted({label for _, label, _ in chosen.values()})
    if fractions := [name for name in classes if _has_fraction(name)]:
        listing.problems.append(
            f"the column {columns.label} of {table.name} holds numbers such as {fractions[0]}, which are no classes: "
            "give a column of class names"
        )
    listing.classes = distinct(map(printable, classes))
    if len(classes) == 1:
        listing.problems.append(f"only one class ({classes[0]}): a classifier needs at least two")
    _divide(listing, chosen, {name: index for index, name in enumerate(classes)}, bool(columns.split))
    return listing


def _divide(
    listing: Listing, chosen: Mapping[Path, tuple[int, str, str]], labels: Mapping[str, int], has_split: bool
) -> None:
    """Fills the parts of a listing, each sorted by name."""
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "other": []}
    for path, (_, label, split) in sorted(chosen.items()):
        sample = Sample(printable(path.relative_to(listing.root).as_posix()), path, labels[label])
        parts[split_role(split) or "other"].append(sample)
    listing.train = parts["train"]
    if parts["val"]:
        listing.val = parts["val"]
    if parts["other"]:
        listing.warnings.append(
            f"{len(parts['other'])} row(s) are neither of the training nor of the validation part and are not used"
        )
    if has_split and not parts["train"]:
        listing.problems.append("no row is of the training part: name it train in the column of splits")


def _rows(table: Path) -> list[Row]:
    """The rows of a table as text. Raises BadDataset where it cannot be read, holds none, or must not be read."""
    if not data_access().allows(table):
        raise BadDataset(str(table), ["lies outside the directories that may be read"])
    try:
        rows = list(_parquet(table) if table.suffix.lower() == ".parquet" else _delimited(table))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadDataset(str(table), [f"cannot be read as a table: {error}"]) from error
    if not rows:
        raise BadDataset(str(table), ["has no rows below its column names"])
    return rows


def _delimited(table: Path) -> Iterator[Row]:
    """Rows of a comma-, semicolon- or tab-separated file in UTF-8."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        separator = max("\t;,", key=first.count)
        for row in csv.DictReader(file, delimiter=separator):
            yield {name.strip(): (value or "") for name, value in row.items() if isinstance(name, str)}


def _parquet(table: Path) -> Iterator[Row]:
    """Rows of a Parquet file. Raises BadDataset where the library that reads it is not installed."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise BadDataset(str(table), ["reading Parquet needs pyarrow: pip install 's2a[hub]'"]) from error
    try:
        found = parquet.read_table(table)
    except ArrowException as error:
        raise BadDataset(str(table), [f"cannot be read as a table: {error}"]) from error
    names = [name for name, kind in zip(found.column_names, found.schema.types, strict=True) if not _is_nested(kind)]
    for row in found.select(names).to_pylist():
        yield {name: "" if value is None else str(value) for name, value in row.items()}


def _is_nested(kind: object) -> bool:
    return str(kind).startswith(("struct", "list", "map", "binary", "large_binary"))


def _columns(table: Path, rows: Sequence[Row]) -> _Columns:
    """Which column is which. Raises BadDataset, with the columns that there are."""
    names = list(rows[0])
    there = f"it has {printable(', '.join(names))}"
    path = _first(names, PATH_COLUMNS)
    if path is None:
        raise BadDataset(str(table), [f"no column of paths ({', '.join(PATH_COLUMNS)}): {there}"])
    split = _first(names, SPLIT_COLUMNS)
    others = [name for name in names if name not in (path, split)]
    label = _first(others, LABEL_COLUMNS) or (others[0] if len(others) == 1 else None)
    if label is None:
        why = "no column of labels" if not others else "several columns may be the label"
        raise BadDataset(str(table), [f"{why}: call it {' or '.join(LABEL_COLUMNS[:2])}; {there}"])
    return _Columns(path, label, split)


def _first(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The column with the first of the known names, in any case."""
    folded = {name.casefold(): name for name in reversed(names)}
    return next((folded[name] for name in known if name in folded), None)


def _has_fraction(text: str) -> bool:
    try:
        return math.isfinite(number := float(text)) and not number.is_integer()
    except ValueError:
        return False
