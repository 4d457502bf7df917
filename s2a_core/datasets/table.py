"""Labels from a table beside images: a column of paths, those of labels and, where there is one, of splits."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s2a_core.datasets.access import data_access
from s2a_core.datasets.folder import Listing, descend, list_folder
from s2a_core.datasets.mask_folder import GUESSED, list_masks
from s2a_core.datasets.named_images import NamedImages
from s2a_core.datasets.split_names import split_role
from s2a_core.datasets.types import Sample
from s2a_core.errors import BadDataset
from s2a_core.names import printable
from s2a_core.tasks import SEGMENTATION, TASKS
from s2a_core.tasks.task import Cells, Reader, Task

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
TABLE_NAME = "labels"  # labels.csv in a directory of images; others are named by --data
PATH_COLUMNS = ("path", "file_name", "filename", "file", "image", "image_path", "image_id", "id")
LABEL_COLUMNS = ("label", "class", "class_name", "category", "target", "labels", "tags")
SPLIT_COLUMNS = ("split", "subset", "fold", "part")
AS_ASKED = "as asked"
INDEX_COLUMNS = ("", "Unnamed: 0", "index")  # what pandas calls the numbers of rows
Row = Mapping[str, str]


@dataclass
class _Columns:
    """Names of the columns of paths and splits; labels: the cells of those that may hold labels; named: the one of them
    that is called label, or alike.
    """

    path: str
    split: str | None
    labels: dict[str, Cells]
    named: str | None


def list_labelled(directory: Path, task: str | None = None) -> Listing:
    """By its folders; where those are no classes and labels.csv (.tsv, .parquet) lies beside them, as that says; where
    they are images/ and masks/, as masks.

    task: the name of one whose targets folders cannot give is read from the table in any case.
    """
    root = descend(directory)
    tables = [path for suffix in TABLE_SUFFIXES if (path := root / f"{TABLE_NAME}{suffix}").is_file()]
    if task in (None, SEGMENTATION.name):
        masks = list_masks(root, GUESSED if task is None else AS_ASKED)
        if masks is not None:
            masks.warnings += [f"{table.name} is not used: --data DIR/{table.name} reads it" for table in tables]
            return masks
    listing = list_folder(directory)
    is_of_table = task is not None and not TASKS[task].has_one_class
    if tables and (is_of_table or listing.problems or len(listing.classes) < 2):
        return list_table(tables[0], task)
    for table in tables:
        advice = f"the folders are the classes; --data DIR/{table.name} reads it"
        listing.warnings.append(f"{table.name} is not used: {advice}")
    return listing


def list_table(table: Path, task: str | None = None) -> Listing:
    """Images of a table, which are looked for in its directory and below, with their targets.

    Columns are known by their names (PATH_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS) and by what they hold. task: the name
    of the one whose targets they are, guessed from them where not given.
    Every row without an image and every image without a row is a problem of the listing, by name.
    Raises BadDataset for a table that cannot be read or whose columns are not clear.
    """
    rows = _rows(table)
    columns = _columns(table, rows)
    chosen, reader, reason, names = _task(table, columns, task)
    listing, images = Listing(table.parent, task=chosen, task_reason=reason), NamedImages.below(table.parent)
    named: dict[Path, tuple[int, Cells, str]] = {}  # image -> (row, cells of its labels, split)
    for number, row in enumerate(rows, start=2):  # as an editor counts them: the first line names the columns
        text, cells = row[columns.path].strip(), [row[name].strip() for name in names]
        image = images.named(text)
        if isinstance(image, str):
            listing.problems.append(f"{table.name} row {number}: {text or 'no path'}: {image}")
        elif flaw := reader.flaw(cells):
            listing.problems.append(f"{table.name} row {number}: {text}: {flaw}")
        elif image in named:
            listing.problems.append(f"{table.name} row {number}: {text} stands in row {named[image][0]} already")
        else:
            named[image] = (number, cells, row[columns.split] if columns.split else "train")
    unnamed = [name for name, path in images.by_path.items() if path not in named]
    if not listing.problems or len(unnamed) < len(images.by_path):
        listing.problems += [f"{name}: has no row in {table.name}" for name in unnamed]
    reading = reader.read([cells for _, cells, _ in named.values()])
    listing.problems += reading.problems
    listing.warnings += reading.warnings
    listing.classes = reading.names
    targets = dict(zip(named, reading.targets, strict=True))
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "other": []}
    for path, (_, _, split) in sorted(named.items()):
        name = printable(path.relative_to(listing.root).as_posix())
        parts[split_role(split) or "other"].append(Sample(name, path, targets[path]))
    _divide(listing, parts, bool(columns.split))
    return listing


def _divide(listing: Listing, parts: Mapping[str, list[Sample]], has_split: bool) -> None:
    """Fills the parts of a listing, each sorted by name."""
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
        content = parquet.read_table(table)
    except ArrowException as error:
        raise BadDataset(str(table), [f"cannot be read as a table: {error}"]) from error
    names = [
        name for name, kind in zip(content.column_names, content.schema.types, strict=True) if not _is_nested(kind)
    ]
    for row in content.select(names).to_pylist():
        yield {name: "" if value is None else str(value) for name, value in row.items()}


def _is_nested(kind: object) -> bool:
    return str(kind).startswith(("struct", "list", "map", "binary", "large_binary"))


def _columns(table: Path, rows: Sequence[Row]) -> _Columns:
    """Which column is which. Raises BadDataset, with the columns that there are."""
    names = list(rows[0])
    path = _first(names, PATH_COLUMNS)
    if path is None:
        raise BadDataset(str(table), [f"no column of paths ({', '.join(PATH_COLUMNS)}): {_there(names)}"])
    split = _first([name for name in names if name != path], SPLIT_COLUMNS)
    others = [name for name in names if name not in (path, split, *INDEX_COLUMNS)]
    others = [name for name in others if name.casefold() not in PATH_COLUMNS] or others
    if not others:
        raise BadDataset(
            str(table), [f"no column of labels: call it {' or '.join(LABEL_COLUMNS[:2])}; {_there(names)}"]
        )
    cells: dict[str, Sequence[str]] = {name: [row[name].strip() for row in rows] for name in others}
    return _Columns(path, split, cells, _first(others, LABEL_COLUMNS))


def _task(table: Path, columns: _Columns, asked: str | None) -> tuple[Task, Reader, str, list[str]]:
    """(task, its reader, how it was known, columns of its targets). Raises BadDataset where that is not clear."""
    for task, reason, names in _choices(table, columns, asked):
        if task.columns is not None and reason and names:
            return task, task.columns.reader({name: columns.labels[name] for name in names}), reason, names
    words = f"no column that {asked} can be trained on" if asked else "several columns may be the label"
    advice = f"call it {' or '.join(LABEL_COLUMNS[:2])}, or say --task"
    raise BadDataset(str(table), [f"{words}: {advice}; {_there([columns.path, *columns.labels])}"])


def _choices(table: Path, columns: _Columns, asked: str | None) -> Iterator[tuple[Task, str, list[str]]]:
    """(task, why it may be this one, columns of its targets). Raises BadDataset for one that no table is of."""
    if asked is not None:
        task = TASKS[asked]
        if task.columns is None:
            raise BadDataset(str(table), [f"no table has what {asked} learns ({task.label}): {task.needs}"])
        yield task, AS_ASKED, task.columns.choose(columns.labels, columns.named)
        return
    names = [columns.named] if columns.named else list(columns.labels)
    held = {name: columns.labels[name] for name in names}
    for task in reversed(TASKS.values()):  # the first one takes any column
        if task.columns is not None and (reason := task.columns.guess(held)):
            yield task, f"guessed: {reason}", names


def _there(names: Sequence[str]) -> str:
    return f"it has {printable(', '.join(names))}"


def _first(names: Sequence[str], known: Sequence[str]) -> str | None:
    """The column with the first of the known names, in any case."""
    folded = {name.casefold(): name for name in reversed(names)}
    return next((folded[name] for name in known if name in folded), None)
