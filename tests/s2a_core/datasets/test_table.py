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
        "labels.csv row 7: ../images/3.png: leads out of the directory of the images: paths are relative to the table",
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
        (("path", "price"), ["1.5", "2", "3", "4", "5", "6"], "numbers such as 1.5, which are no classes"),
    ],
)
def test_columns_that_are_unclear_are_refused(
    columns: tuple[str, ...], labels: list[str], reason: str, make_table: MakeTable
) -> None:
    rows = [[f"images/{i}.png", *[label] * (len(columns) - 1)] for i, label in enumerate(labels or LABELS)]
    with pytest.raises(BadDataset, match=reason):
        open_dataset(make_table(columns, rows))


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
