"""Finding classes, splits and files, however the directory is laid out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from s2a_core.datasets.folder import list_folder
from tests.s2a_core.datasets.conftest import MakeFolder, write_image


@pytest.mark.parametrize("val", ["val", "valid", "validation", "test", "Val"])
def test_a_validation_part_is_found_by_its_usual_names(val: str, make_folder: MakeFolder) -> None:
    listing = list_folder(make_folder(("train", val)))
    assert listing.classes == ["a", "b"]
    assert len(listing.train) == 10
    assert listing.val is not None
    assert len(listing.val) == 10


def test_one_directory_around_the_classes_is_passed_through(make_folder: MakeFolder) -> None:
    folder = make_folder(("deep/photos",))
    listing = list_folder(folder)
    assert (listing.root, listing.classes, listing.val) == (folder / "deep" / "photos", ["a", "b"], None)


def test_train_alone_is_split_later(make_folder: MakeFolder) -> None:
    listing = list_folder(make_folder(("train",)))
    assert (listing.classes, len(listing.train), listing.val, listing.problems) == (["a", "b"], 10, None, [])


@pytest.mark.parametrize(
    "classes", [("car", "train"), ("car", "test", "train", "val"), ("Validation", "cat", "training")]
)
def test_a_class_may_be_called_like_a_split(classes: tuple[str, ...], make_folder: MakeFolder) -> None:
    listing = list_folder(make_folder(classes=classes))
    assert (tuple(listing.classes), listing.val, len(listing.train)) == (classes, None, 5 * len(classes))
    assert listing.problems == listing.warnings == []


def test_splits_may_hold_a_class_called_train(make_folder: MakeFolder) -> None:
    listing = list_folder(make_folder(("train", "test"), ("test", "train")))
    assert (listing.classes, len(listing.train), len(listing.val or [])) == (["test", "train"], 10, 10)


def test_splits_without_classes_are_no_classes(make_folder: MakeFolder) -> None:
    listing = list_folder(make_folder(classes=("train", "val")))
    assert listing.problems == ["its images lie in no class directory: make one directory per class, DIR/CLASS/IMAGE"]


def test_images_beside_the_splits_are_named(make_folder: MakeFolder) -> None:
    folder = make_folder(("train", "val"))
    write_image(folder / "plane" / "1.png")
    (folder / "docs").mkdir()
    assert list_folder(folder).warnings == ["directories beside the splits are not used: docs, plane"]


def test_images_deeper_in_a_class_belong_to_it(make_folder: MakeFolder) -> None:
    folder = make_folder()
    write_image(folder / "a" / "more" / "x.jpg")
    assert len(list_folder(folder).train) == 11


def test_hidden_files_are_passed_over_and_others_are_named(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "a" / "._1.png").write_bytes(b"x")
    (folder / "labels.csv").write_text("x")
    write_image(folder / "loose.png")
    listing = list_folder(folder)
    assert len(listing.train) == 10
    assert "loose.png" in listing.warnings[0]
    assert "labels.csv" in listing.warnings[1]


def test_an_unknown_class_in_validation_is_a_problem(make_folder: MakeFolder) -> None:
    folder = make_folder(("train", "val"))
    write_image(folder / "val" / "c" / "1.png")
    assert list_folder(folder).problems == ["val/c: no such class in the training part"]


def test_a_missing_class_in_validation_is_a_warning(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(("train",))
    write_image(folder / "val" / "a" / "1.png")
    listing = list_folder(folder)
    assert listing.problems == []
    assert listing.warnings == ["no validation image of b"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes as a name: Linux")
def test_names_that_are_no_utf8_are_printable_and_distinct_and_still_open(make_folder: MakeFolder) -> None:
    folder = make_folder(("train", "val"), ("caf\\udce9", os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe8"), "猫"))
    write_image(folder / "train" / "猫" / os.fsdecode(b"\xff.png"))
    listing = list_folder(folder)
    assert listing.classes == ["caf\\udce9", "caf\\udce8", "caf\\udce9 (2)", "猫"]
    assert listing.problems == listing.warnings == []
    assert sorted({sample.label for sample in listing.val or []}) == [0, 1, 2, 3]
    assert "train/猫/\\udcff.png" in [sample.name for sample in listing.train]
    for sample in listing.train:
        sample.name.encode()
        assert isinstance(sample.source, Path)
        assert sample.source.is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes as a name: Linux")
def test_problems_name_such_files_printably(make_folder: MakeFolder) -> None:
    folder = make_folder(("train", "val"))
    (folder / "train" / os.fsdecode(b"\xe9")).mkdir()
    write_image(folder / "val" / os.fsdecode(b"\xe8") / "1.png")
    assert list_folder(folder).problems == [
        "val/\\udce8: no such class in the training part",
        "train/\\udce9: the class holds no image",
    ]
