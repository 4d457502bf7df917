"""Finding classes, splits and files, however the directory is laid out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from s2a_core.datasets.folder import Listing, image_files, list_folder
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


@pytest.mark.parametrize(
    ("train", "val"),
    [("seg_train", "seg_test"), ("Training Images", "Testing Images"), ("train2017", "val2017"), ("trn", "dev")],
)
def test_parts_of_other_common_names_are_parts(train: str, val: str, make_folder: MakeFolder) -> None:
    folder = make_folder((train, val))
    write_image(folder / "seg_pred" / "1.png")
    listing = list_folder(folder)
    assert (listing.classes, len(listing.train), len(listing.val or [])) == (["a", "b"], 10, 10)
    assert listing.warnings == ["directories beside the splits are not used: seg_pred"]


def test_parts_may_be_wrapped_in_a_directory_of_their_name(make_folder: MakeFolder) -> None:
    listing = list_folder(make_folder(("seg_train/seg_train", "seg_test/seg_test")))
    assert (listing.classes, len(listing.train), len(listing.val or [])) == (["a", "b"], 10, 10)


def test_parts_of_unknown_names_are_refused_and_equal_directories_in_classes_are_named(make_folder: MakeFolder) -> None:
    (problem,) = list_folder(make_folder(("fold_1", "fold_2"))).problems
    assert "fold_1, fold_2 look like parts of one dataset" in problem


def test_classes_that_hold_the_same_directories_stay_classes(make_folder: MakeFolder) -> None:
    listing = list_folder(make_folder(("cat", "dog"), ("left", "right")))
    assert (listing.classes, listing.problems) == (["cat", "dog"], [])
    assert "taken as classes although they hold the same directories (left, right)" in listing.warnings[0]
    listing = list_folder(make_folder(("model train", "model plane"), ("x", "y")))
    assert listing.classes[-2:] == ["model plane", "model train"]


def test_a_test_part_without_labels_is_named_and_the_split_made_later(make_folder: MakeFolder) -> None:
    folder = make_folder(("train",))
    write_image(folder / "test" / "1.png")
    listing = list_folder(folder)
    assert (listing.val, listing.problems) == (None, [])
    assert listing.warnings == ["test/ is not used (its images lie in no class directory, so they have no labels)"]


def test_two_spellings_of_one_class_are_said_to_be_one(make_folder: MakeFolder) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    folder = make_folder((), (composed, "b"))
    for name in (composed, "b"):
        write_image(folder / name / "1.png")
    write_image(folder / decomposed / "1.png")
    (problem,) = list_folder(folder).problems
    assert "different Unicode forms" in problem


def test_a_class_of_another_unicode_form_in_validation_is_the_same_class(make_folder: MakeFolder) -> None:
    folder = make_folder(("train",), ("caf\u00e9", "b"))
    write_image(folder / "val" / "cafe\u0301" / "1.png")
    listing = list_folder(folder)
    assert listing.problems == []
    assert [sample.label for sample in listing.val or []] == [labels_of(listing)["caf\u00e9"]]


def labels_of(listing: Listing) -> dict[str, int]:
    return {name: label for label, name in enumerate(listing.classes)}


def test_a_link_to_a_directory_around_it_is_named_and_not_followed(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "a" / "again").symlink_to(folder, target_is_directory=True)
    listing = list_folder(folder)
    assert (
        listing.problems == ["a/again/a/again: is a link to a directory around it"]
        or "around it" in listing.problems[0]
    )
    (folder / "a" / "again").unlink()
    (folder / "a" / "self.png").symlink_to(folder / "a" / "self.png")
    (folder / "loop").symlink_to(folder / "loop")
    assert [sample.name for sample in list_folder(folder).train][-6] == "a/self.png"


def test_images_without_a_suffix_are_said_to_be_images(make_folder: MakeFolder) -> None:
    folder = make_folder()
    (folder / "a" / "0.png").rename(folder / "a" / "photo")
    (folder / "a" / "notes").write_text("x")
    listing = list_folder(folder)
    (problem,) = listing.problems
    assert "1 file(s) are images without a suffix such as .jpg" in problem
    assert "a/photo" in problem
    assert "a/notes" in listing.warnings[0]


def test_predictions_read_what_training_reads(make_folder: MakeFolder) -> None:
    folder = make_folder()
    for name in ("._IMG_0.png", "__MACOSX/a.png", ".thumbnails/b.png"):
        write_image(folder / name)
    assert sorted(image_files(folder)) == sorted(Path(str(s.source)) for s in list_folder(folder).train)
