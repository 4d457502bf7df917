"""Labels from tables: which column is which, which image a row names, and everything wrong with it at once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pyarrow import Table, parquet

from s2a_core.datasets import open_dataset
from s2a_core.datasets.access import DataAccess, limited_to
from s2a_core.datasets.table import list_labelled, list_table
from s2a_core.errors import BadDataset
from tests.s2a_core.datasets.conftest import write_image

MakeTable = Callable[..., Path]


@pytest.fixture
def make_table(tmp_path: Path) -> MakeTable:
    """make_table(columns, rows, name, images) -> a table beside images/N.png."""

    def make(
        columns: Sequence[str], rows: Sequence[Sequence[str]], name: str = "labels.csv", images: int = 6,
        separator: str = ",",
    ) -> Path:  # fmt: skip
        for number in range(images):
            write_image(tmp_path / "data" / "images" / f"{number}.png", number)
        table = tmp_path / "data" / name
        with table.open("w", newline="") as file:
            csv.writer(file, delimiter=separator).writerows([columns, *rows])
        return table

    return make


def _rows(labels: Sequence[str], folder: str = "images/", suffix: str = ".png") -> list[list[str]]:
    return [[f"{folder}{number}{suffix}", label] for number, label in enumerate(labels)]


LABELS = ["cat", "dog", "cat", "dog", "cat", "dog"]


@pytest.mark.parametrize(
    ("columns", "folder", "suffix", "separator"),
    [
        (("path", "label"), "images/", ".png", ","),
        (("file_name", "Class"), "./images/", ".png", ";"),
        (("Image", "breed"), "", ".png", "\t"),
        (("id", "target"), "", "", ","),
    ],
)
def test_columns_are_known_by_their_names_and_images_by_path_or_name(
    columns: tuple[str, str], folder: str, suffix: str, separator: str, make_table: MakeTable
) -> None:
    listing = list_table(make_table(columns, _rows(LABELS, folder, suffix), separator=separator))
    assert listing.problems == []
    assert listing.classes == ["cat", "dog"]
    assert [(s.name, s.label) for s in listing.train[:2]] == [("images/0.png", 0), ("images/1.png", 1)]
    assert listing.val is None


def test_a_directory_whose_folders_are_no_classes_is_read_by_its_table(make_table: MakeTable) -> None:
    table = make_table(("path", "label"), _rows(LABELS))
    dataset = open_dataset(table.parent)
    assert (dataset.classes, dataset.report.num_train, dataset.report.num_val) == (("cat", "dog"), 4, 2)
    assert open_dataset(table).report.kind == "table"


def test_folders_that_are_classes_stay_the_classes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / name / "1.png")
    (tmp_path / "labels.csv").write_text("path,label\na/1.png,x\n")
    listing = list_labelled(tmp_path)
    assert listing.classes == ["a", "b"]
    assert any("labels.csv is not used" in warning for warning in listing.warnings)


def test_a_column_of_splits_divides(make_table: MakeTable) -> None:
    splits = ["train", "train", "val", "test", "train", "extra"]
    rows = [[*row, split] for row, split in zip(_rows(LABELS), splits, strict=True)]
    listing = list_table(make_table(("path", "label", "split"), rows))
    assert (len(listing.train), len(listing.val or []), listing.problems) == (3, 2, [])
    assert listing.warnings == ["1 row(s) are neither of the training nor of the validation part and are not used"]


def test_a_parquet_table_is_read(make_table: MakeTable) -> None:
    csv_table = make_table(("path", "label"), [])
    table = csv_table.with_name("labels.parquet")
    paths = [f"images/{number}.png" for number in range(6)]
    parquet.write_table(Table.from_pydict({"path": paths, "label": [0, 1, 0, 1, 0, 1], "tags": [["x"]] * 6}), table)
    listing = list_table(table)
    assert (listing.classes, len(listing.train), listing.problems) == (["0", "1"], 6, [])


def test_everything_that_is_wrong_is_said_at_once_by_name(make_table: MakeTable) -> None:
    rows = [
        ["images/0.png", "cat"], ["images/1.png", "dog"], ["images/9.png", "cat"], ["images/2.png", " "],
        ["images/0.png", "dog"], ["../images/3.png", "dog"], ["", "dog"],
    ]  # fmt: skip
    table = make_table(("path", "label"), rows, images=4)
    with pytest.raises(BadDataset) as refused:
        open_dataset(table)
    assert refused.value.details["problems"] == [
        "labels.csv row 4: images/9.png: no such image",
        "labels.csv row 5: images/2.png: no label",
        "labels.csv row 6: images/0.png stands in row 2 already",
        "labels.csv row 7: ../images/3.png: leads out of the directory of the images: paths are relative to it",
        "labels.csv row 8: no path: no such image",
        "images/2.png: has no row in labels.csv",
        "images/3.png: has no row in labels.csv",
    ]


@pytest.mark.parametrize(
    ("columns", "labels", "reason"),
    [
        (("photo", "label"), LABELS, r"no column of paths \(path, .*it has photo, label"),
        (("path",), [], "no column of labels: call it label or class; it has path"),
        (("path", "red", "blue"), LABELS, "several columns may be the label: call it label or class"),
        (("path", "label"), ["cat"] * 6, "only one class"),
    ],
)
def test_columns_that_are_unclear_are_refused(
    columns: tuple[str, ...], labels: list[str], reason: str, make_table: MakeTable
) -> None:
    rows = [[f"images/{i}.png", *[label] * (len(columns) - 1)] for i, label in enumerate(labels or LABELS)]
    with pytest.raises(BadDataset, match=reason):
        open_dataset(make_table(columns, rows))


def test_numbers_with_fractions_are_no_classes(make_table: MakeTable) -> None:
    table = make_table(("path", "price"), _rows(["1.5", "2", "3", "4", "5", "6"]))
    with pytest.raises(BadDataset, match=r"numbers such as 1\.5, which are no classes"):
        open_dataset(table, task="classification")


def test_a_table_that_is_no_table_is_refused(make_table: MakeTable, tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="has no rows below its column names"):
        list_table(make_table(("path", "label"), []))
    (tmp_path / "binary.csv").write_bytes(b"path,label\n\xff\xfe\x00")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    for name in ("binary.csv", "bad.parquet"):
        with pytest.raises(BadDataset, match="cannot be read as a table"):
            list_table(tmp_path / name)


def test_images_of_one_name_need_their_path(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_image(tmp_path / folder / "1.png")
    table = tmp_path / "my.csv"
    table.write_text("path,label\n1.png,x\n")
    assert "2 images have this name: give its path" in list_table(table).problems[0]


def test_a_table_outside_what_may_be_read_is_refused(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table(("path", "label"), _rows(LABELS))
    with limited_to(DataAccess(roots=(tmp_path / "elsewhere",))):
        with pytest.raises(BadDataset, match="outside the directories"):
            list_table(table)
        with pytest.raises(BadDataset, match="outside the directories"):
            open_dataset(table)


AB = ["a", "b"]
FLAGS = [["1", "0"], ["0", "1"], ["1", "1"], ["0", "0"], ["1", "0"], ["0", "1"]]


@pytest.mark.parametrize(
    ("columns", "cells", "task", "reason", "names"),
    [
        (("label",), [["cat"], ["dog"]] * 3, "classification", "one column of names", ["cat", "dog"]),
        (("label",), [["3"], ["7"]] * 3, "classification", "one column of names", ["3", "7"]),
        (("red", "blue"), FLAGS, "multilabel", "2 columns of 0 and 1", ["red", "blue"]),
        (
            ("tags",),
            [["a|b"], ["b"]] * 3,
            "multilabel",
            "the column tags holds several labels, separated by |",
            ["a", "b"],
        ),
        (("price",), [["1.5"], ["2"]] * 3, "regression", "the column price holds numbers with fractions", ["price"]),
        (("x", "y"), [["1", "20"], ["4", "7"]] * 3, "regression", "2 columns of numbers", ["x", "y"]),
    ],
)
def test_the_task_is_guessed_from_the_columns(
    columns: tuple[str, ...], cells: list[list[str]], task: str, reason: str, names: list[str], make_table: MakeTable
) -> None:
    dataset = open_dataset(make_table(("path", *columns), _with_paths(cells)))
    report = dataset.report
    assert (report.task, report.task_reason, list(dataset.classes)) == (task, f"guessed: {reason}", names)
    assert dataset.outputs.task.name == task


def _with_paths(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[f"images/{number}.png", *row] for number, row in enumerate(cells)]


def test_numbers_are_standardised_by_the_training_images_alone(make_table: MakeTable) -> None:
    prices = {"1.5": "train", "3.5": "train", "9": "val", "0": "val"}
    rows = [[f"images/{i}.png", price, split] for i, (price, split) in enumerate(prices.items())]
    dataset = open_dataset(make_table(("path", "price", "split"), rows, images=4))
    assert dataset.report.scale == {"mean": [2.5], "std": [1.0]}
    assert (dataset.train.labels, dataset.val.labels) == ([(-1.0,), (1.0,)], [(6.5,), (-2.5,)])


def test_said_tasks_read_the_columns_that_they_can_and_pass_over_indices(make_table: MakeTable) -> None:
    cells = [[str(i), str(10 * i), "a note", f"{i}"] for i in range(6)]
    table = make_table(("", "price", "note", "id", "path"), [[*row, f"images/{i}.png"] for i, row in enumerate(cells)])
    dataset = open_dataset(table, task="regression")
    assert (dataset.classes, dataset.report.task_reason) == (("price",), "as asked")


def test_bad_cells_of_other_tasks_are_all_said_by_name(make_table: MakeTable) -> None:
    bad = [["images/4.png", "1", "2"], ["images/9.png", "x", "0"]]
    flags = make_table(("path", "red", "blue"), [*_with_paths(FLAGS[:4]), *bad])
    with pytest.raises(BadDataset) as refused:
        open_dataset(flags)
    assert refused.value.details["problems"] == [
        "labels.csv row 6: images/4.png: blue is 2, not 0 or 1",
        "labels.csv row 7: images/9.png: no such image",
        "images/4.png: has no row in labels.csv",
        "images/5.png: has no row in labels.csv",
    ]
    cells = [["1.5"], ["nan"], [""], ["2"], ["n/a"], ["3"]]
    numbers = make_table(("path", "price"), _with_paths(cells), "prices.csv")
    with pytest.raises(BadDataset) as refused:
        open_dataset(numbers, task="regression")
    assert refused.value.details["problems"][:3] == [
        "prices.csv row 3: images/1.png: price is nan, not a finite number",
        "prices.csv row 4: images/2.png: price is empty, not a finite number",
        "prices.csv row 6: images/4.png: price is n/a, not a finite number",
    ]


@pytest.mark.parametrize(
    ("task", "columns", "cells", "reason"),
    [
        ("regression", ("note",), [["a"]] * 6, "no column that regression can be trained on: .*it has path, note"),
        ("multilabel", (), [[]] * 6, "no column of labels"),
        ("regression", ("price",), [["2.5"]] * 6, "price is 2.5 for every training image: there is nothing to learn"),
        ("multilabel", ("tags",), [[""]] * 6, "the column tags names no label"),
    ],
)
def test_columns_that_a_task_cannot_learn_are_refused(
    task: str, columns: tuple[str, ...], cells: list[list[str]], reason: str, make_table: MakeTable
) -> None:
    with pytest.raises(BadDataset, match=reason):
        open_dataset(make_table(("path", *columns), _with_paths(cells)), task=task)


def test_a_task_that_folders_cannot_give_needs_a_table(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(3):
            write_image(tmp_path / name / f"{number}.png", number + 10 * ord(name))
    for source in (tmp_path, "digits"):
        with pytest.raises(BadDataset, match=r"no labels for multilabel .*put labels\.csv"):
            open_dataset(source, task="multilabel")
    rows = "".join(f"{name}/{number}.png,{number / 2}\n" for name in ("a", "b") for number in range(3))
    (tmp_path / "labels.csv").write_text(f"path,score\n{rows}")
    assert open_dataset(tmp_path, task="regression").classes == ("score",)
    assert open_dataset(tmp_path).classes == ("a", "b")


def test_many_whole_numbers_are_classes_with_a_remark(tmp_path: Path) -> None:
    for number in range(24):
        write_image(tmp_path / "data" / "images" / f"{number}.png", number)
    table = tmp_path / "data" / "labels.csv"
    table.write_text("path,age\n" + "".join(f"images/{i}.png,{20 + i // 2}\n" for i in range(24)))
    warnings = open_dataset(table).report.warnings
    assert any("12 whole numbers of the column age are taken as classes: --task regression" in w for w in warnings)
