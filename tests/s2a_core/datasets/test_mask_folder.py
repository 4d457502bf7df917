"""Folders of images and masks: found, divided, and refused with every fault by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2a_core.datasets import open_dataset
from s2a_core.errors import BadDataset
from s2a_core.tasks.task import Mask
from tests.s2a_core.tasks.shapes import segmentation, write_shapes, write_table


def problems_of(root: Path, task: str | None = None) -> list[str]:
    with pytest.raises(BadDataset) as caught:
        open_dataset(root, task=task)
    return list(caught.value.details["problems"])


def test_images_with_masks_are_guessed_and_counted(tmp_path: Path) -> None:
    dataset = open_dataset(segmentation(tmp_path, 20, names=("ground", "square", "disk", "never")))
    report = dataset.report
    assert (report.task, report.task_reason) == ("segmentation", "guessed: images/ with masks/")
    assert dataset.classes == ("ground", "square", "disk", "never")
    assert (report.num_train, report.num_val) == (16, 4)
    assert report.class_counts["ground"] == (16, 4)
    assert report.class_counts["never"] == (0, 0)
    assert report.warnings[-1] == "1 class(es) have no validation image: never"
    image, mask = dataset.train[0]
    assert mask.shape == (image.height, image.width)
    assert set(mask.unique().tolist()) <= {0, 1, 2}


def test_without_names_classes_are_their_values_and_a_fingerprint_follows_the_masks(tmp_path: Path) -> None:
    first = open_dataset(segmentation(tmp_path / "a", 8), task="segmentation")
    assert (first.classes, first.report.task_reason) == (("0", "1", "2"), "as asked")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert open_dataset(tmp_path / "b").report.fingerprint == first.report.fingerprint
    with Image.open(tmp_path / "b/masks/003.png") as mask:
        mask.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "b/masks/003.png")
    assert open_dataset(tmp_path / "b").report.fingerprint != first.report.fingerprint


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_splits_are_directories_inside_or_around(layout: str, tmp_path: Path) -> None:
    segmentation(tmp_path / "all", 10)
    for split, numbers in (("train", range(6)), ("val", range(6, 10))):
        for kind in ("images", "masks"):
            folder = tmp_path / "set" / layout.format(split=split, kind=kind)
            folder.mkdir(parents=True)
            for path in (tmp_path / "all" / kind).iterdir():
                if int(path.stem) in numbers:
                    shutil.copy(path, folder)
    dataset = open_dataset(tmp_path / "set")
    assert (dataset.report.num_train, dataset.report.num_val) == (6, 4)
    assert dataset.report.split == {"made": False}
    assert {Path(sample.name).stem for sample in dataset.val.samples} == {"006", "007", "008", "009"}


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    root = segmentation(tmp_path, 8, names=("ground", "square", "disk"))
    (root / "masks/000.png").unlink()
    shutil.copy(root / "masks/001.png", root / "masks/extra.png")
    Image.new("L", (32, 64)).save(root / "masks/002.png")
    Image.new("L", (64, 64), 7).save(root / "masks/003.png")
    Image.new("RGB", (64, 64)).save(root / "masks/004.png")
    (root / "masks/005.png").write_bytes(b"no image")
    (root / "images/006.png").write_bytes(b"")
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(root / "masks/007.png")
    advice = "a mask has one value of 8 bits a pixel, its class; save it as indexed PNG or 8-bit grey"
    assert problems_of(root) == [
        "images/000.png: has no mask in masks/",
        "masks/extra.png: has no image in images/",
        "masks/002.png: is 32 x 64 pixels, its image 64 x 64",
        f"masks/004.png: is RGB: {advice}",
        "masks/005.png: is not an image",
        f"masks/007.png: is I;16: {advice}",
        "masks/003.png: holds the value 7, and classes.txt names 3 classes, 0 to 2; 255 is ignored",
        "images/006.png: is empty (0 bytes)",
    ]


def test_a_jpeg_and_two_files_of_one_name_are_no_masks(tmp_path: Path) -> None:
    root = segmentation(tmp_path, 4)
    shutil.copy(root / "masks/000.png", root / "masks/000.gif")
    (root / "masks/001.png").unlink()
    Image.new("L", (64, 64)).save(root / "masks/001.jpg")
    assert problems_of(root) == [
        "masks/000.png: 000.gif has the same name",
        "masks/001.jpg: is a JPEG, which changes values: save masks as PNG",
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (128, "the masks hold the values 0, 128: without classes.txt classes are 0, 1, 2 and so on without a gap"),
        (255, "the masks hold only one class (0), and there must be two; 255 is no class but ignored: write 1 instead"),
        (0, "the masks hold only one class (0), and there must be two"),
    ],
)
def test_values_that_are_no_classes_are_said_with_what_to_do(value: int, reason: str, tmp_path: Path) -> None:
    root = segmentation(tmp_path, 4)
    for path in (root / "masks").iterdir():
        mask = Image.new("L", (64, 64))
        mask.paste(value, (8, 8, 20, 20))
        mask.save(path)
    (problem,) = problems_of(root)
    assert problem.startswith(reason)


def test_a_photo_that_is_stored_turned_has_the_size_it_is_seen_in(tmp_path: Path) -> None:
    root = segmentation(tmp_path, 4)
    turned = Image.new("RGB", (40, 64))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(root / "images/001.jpg", exif=exif)
    assert problems_of(root) == ["masks/001.png: is 64 x 64 pixels, its image 64 x 40"]
    with Image.open(root / "masks/000.png") as mask:
        mask.resize((64, 40), Image.Resampling.NEAREST).save(root / "masks/001.png")
    dataset = open_dataset(root)
    (sample,) = [s for part in (dataset.train, dataset.val) for s in part.samples if "001" in s.name]
    assert isinstance(sample.label, Mask)


def test_nothing_but_ignored_pixels_is_worth_a_warning(tmp_path: Path) -> None:
    root = segmentation(tmp_path, 6)
    Image.new("L", (64, 64), 255).save(root / "masks/002.png")
    warnings = open_dataset(root).report.warnings
    assert warnings[0] == "1 mask(s) hold nothing but 255, which is ignored: masks/002.png"


def test_names_are_checked(tmp_path: Path) -> None:
    root = segmentation(tmp_path, 4, names=("ground", "", "disk"))
    assert problems_of(root) == ["classes.txt line 2: is empty"]
    (root / "classes.txt").write_bytes(b"\xff\xfe\x00")
    assert problems_of(root)[0].startswith("classes.txt: cannot be read")


def test_other_tasks_may_be_asked_for_and_masks_must_be_there_for_this_one(tmp_path: Path) -> None:
    root = segmentation(tmp_path / "masks", 4)
    assert open_dataset(root, task="classification").classes == ("images", "masks")
    classes = tmp_path / "classes"
    for name in ("a", "b"):
        shutil.copytree(root / "images", classes / name)
    (problem,) = problems_of(classes, "segmentation")
    assert problem.startswith(
        "it has no labels for segmentation (a class for each pixel), only one class an image: put"
    )
    table = write_table(tmp_path / "labels.csv", ("label",), [["x"]] * len(write_shapes(tmp_path, 4)))
    (problem,) = problems_of(table, "segmentation")
    assert problem.startswith(
        "no table has what segmentation learns (a class for each pixel): put the images into images/"
    )
