"""COCO annotations become masks: layouts, what overlaps, run lengths, and every fault by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from s2a_core.datasets import open_dataset
from s2a_core.datasets.coco import is_coco_name, mask_of
from s2a_core.errors import BadDataset
from s2a_core.tasks.task import Mask
from tests.s2a_core.tasks.shapes import coco

pytest.importorskip("pycocotools", reason="needs pycocotools: pip install 's2a[coco]'")
SQUARE = {"segmentation": [[2, 2, 10, 2, 10, 10, 2, 10]], "category_id": 3}


def problems_of(source: Path, tmp_path: Path, task: str | None = None) -> list[str]:
    with pytest.raises(BadDataset) as caught:
        open_dataset(source, cache=tmp_path / "cache", task=task)
    return list(caught.value.details["problems"])


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "layout",
    [
        ("annotations.json", "images"),
        ("annotations/instances_val2017.json", "val2017"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_annotations_are_found_and_guessed(layout: tuple[str, str], tmp_path: Path) -> None:
    coco(tmp_path / "set", 10, *layout)
    dataset = open_dataset(tmp_path / "set", cache=tmp_path / "cache")
    report = dataset.report
    assert (report.task, report.task_reason) == ("segmentation", "guessed: COCO annotations of masks")
    assert dataset.classes == ("background", "square", "disk")
    assert (report.num_train, report.num_val) == (8, 2)
    image, mask = dataset.train[0]
    assert mask.shape == (image.height, image.width) == (48, 64)
    red = np.asarray(image)[..., 0].astype(int) - np.asarray(image)[..., 2]
    assert (red[mask.numpy() == 1] > 100).mean() > 0.9  # the square is red, the disk blue
    assert (red[mask.numpy() == 2] < -100).mean() > 0.9


def test_masks_that_were_drawn_stay_with_their_images_where_these_lie_in_other_directories(tmp_path: Path) -> None:
    def labels(root: Path, places: dict[str, str]) -> dict[str, tuple[int, ...]]:
        path = coco(root, 6, "labels.json", "data")
        document = json.loads(path.read_text())
        for name, place in places.items():
            (path.parent / place).mkdir(exist_ok=True)
            (path.parent / "data" / name).rename(path.parent / place / name)
        for entry in document["images"]:
            entry["file_name"] = Path(entry["file_name"]).name
        document["annotations"] = document["annotations"][:1]
        path.write_text(json.dumps(document))
        dataset = open_dataset(path, cache=tmp_path / "cache")
        samples = [*dataset.train.samples, *(dataset.val.samples if dataset.val else ())]
        return {Path(s.name).name: s.label.classes for s in samples if isinstance(s.label, Mask)}

    names = sorted(p.name for p in coco(tmp_path / "names", 6, "labels.json", "data").parent.glob("data/*"))
    first = labels(tmp_path / "first", dict(zip(names, "abcdef", strict=True)))
    second = labels(tmp_path / "second", dict(zip(names, "fedcba", strict=True)))
    assert first == second


def test_a_file_is_named_and_a_second_opening_draws_nothing_again(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", 6, "labels.json", "data")
    first = open_dataset(path, cache=tmp_path / "cache", task="segmentation")
    assert (first.report.kind, first.report.task_reason) == ("annotations", "as asked")
    times = {mask: mask.stat().st_mtime_ns for mask in (tmp_path / "cache").rglob("*.png")}
    assert len(times) == 6
    assert open_dataset(path, cache=tmp_path / "cache").report.fingerprint == first.report.fingerprint
    assert times == {mask: mask.stat().st_mtime_ns for mask in (tmp_path / "cache").rglob("*.png")}


def test_splits_are_files_and_images_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for split, num in (("train2017", 6), ("val2017", 3)):
        coco(tmp_path / "set", num, f"annotations/instances_{split}.json", split)
    dataset = open_dataset(tmp_path / "set", cache=tmp_path / "cache")
    assert (dataset.report.num_train, dataset.report.num_val) == (6, 3)
    assert dataset.report.split == {"made": False}
    assert {Path(sample.name).parts[0] for sample in dataset.val.samples} == {"val2017"}


def test_masks_beside_annotations_are_what_counts_and_other_tasks_do_not_read_them(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", 4)
    assert "it has no labels for multilabel" in problems_of(path, tmp_path, "multilabel")[0]
    (path.parent / "masks").mkdir()
    for image in (path.parent / "images").iterdir():
        Image.fromarray(np.arange(48 * 64).reshape(48, 64).astype(np.uint8) % 2).save(
            path.parent / "masks" / image.name
        )
    assert open_dataset(path.parent).report.task_reason == "guessed: images/ with masks/"


def test_small_ones_lie_over_large_ones_and_crowds_below_all() -> None:
    large = {"segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]], "category_id": 5}
    crowd = {"segmentation": {"size": [20, 20], "counts": [20, 380]}, "category_id": 9, "iscrowd": 1}
    mask = mask_of([SQUARE, large, crowd], (20, 20), {3: 1, 5: 2, 9: 3})
    assert (mask[5, 5], mask[15, 15], mask[0, 0]) == (1, 2, 2)
    assert (mask_of([crowd], (20, 20), {9: 3})[:, 0] == 0).all()  # runs go down the columns
    assert (mask_of([], (3, 2), {}) == np.zeros((2, 3))).all()


def test_a_category_called_background_is_no_second_one(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", 6)
    changed(path, lambda d: d["categories"].append({"id": 0, "name": "Background"}))
    assert open_dataset(path, cache=tmp_path / "cache").classes == ("background", "square", "disk")


def test_an_image_without_annotations_is_background(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", 6)
    changed(path, lambda d: d.update(annotations=[a for a in d["annotations"] if a["image_id"] != 0]))
    dataset = open_dataset(path, cache=tmp_path / "cache")
    samples = (*dataset.train.samples, *dataset.val.samples)
    (label,) = [sample.label for sample in samples if sample.name.endswith("000.png")]
    assert isinstance(label, Mask)
    assert label.classes == (0,)


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", 12)

    def spoil(document: dict[str, Any]) -> None:
        images, annotations = document["images"], document["annotations"]
        images[0]["file_name"] = "gone.png"
        del images[1]["width"]
        images.append(dict(images[2], id=99))
        annotations[6].pop("segmentation")
        annotations[7]["segmentation"] = [[1, 2, 3, 4]]
        annotations[8]["segmentation"] = [[1, 2, 3, 4, 5, 1e9]]
        annotations[9]["segmentation"] = {"size": [48, 64], "counts": [3, 4]}
        annotations[10]["segmentation"] = {"size": [64, 48], "counts": [3072]}
        annotations[11].update(category_id=[7])
        annotations[12].update(image_id="x")

    changed(path, spoil)
    problems = "\n".join(problems_of(path, tmp_path))
    for words in (
        "annotations.json: image gone.png: no such image",
        "image '001.png': has no id, file_name, width and height",
        "images/002.png has two entries",
        "images/000.png: has no entry in annotations.json",
        "annotation 6 of 003.png: has no mask (segmentation), as a box alone has none",
        "annotation 7 of 003.png: its polygons are no lists of x, y, x, y of three points or more",
        "annotation 8 of 004.png: a polygon has points that are no numbers or far outside its image",
        "annotation 9 of 004.png: its run lengths do not fill its image",
        "annotation 10 of 005.png: its run lengths are of [64, 48], its image is [48, 64]",
        "annotation 11 of 005.png: its category [7] is not in the list",
        "annotation 12: is of no image",
    ):
        assert words in problems


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not COCO: it needs lists of images, annotations and categories"),
        ('{"images": [1], "annotations": [], "categories": []}', "is not COCO"),
        ('{"images": [], "annotations": [], "categories": []}', "there are 0 categories"),
    ],
)
def test_a_file_that_is_not_coco_says_so(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(content)
    assert words in problems_of(tmp_path / "annotations.json", tmp_path)[0]


def test_sizes_and_empty_annotations_are_faults(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", 6)
    changed(path, lambda document: document["images"][3].update(width=65))
    assert problems_of(path, tmp_path) == ["images/003.png: is 64 x 48 pixels, annotations.json says 65 x 48"]
    path = coco(tmp_path / "other", 6)
    changed(path, lambda document: document.update(annotations=[]))
    assert problems_of(path, tmp_path)[0] == "no annotation covers a pixel of the training images"


def test_two_training_files_and_other_categories_are_faults(tmp_path: Path) -> None:
    coco(tmp_path / "set", 4, "annotations/instances_train.json", "train")
    val = coco(tmp_path / "set", 4, "annotations/instances_val.json", "val")
    changed(val, lambda document: document["categories"].pop())
    assert "the categories of training and validation are not the same" in problems_of(tmp_path / "set", tmp_path)
    val.rename(val.with_name("instances_train_b.json"))
    assert "one file of training annotations is needed" in problems_of(tmp_path / "set", tmp_path)[0]


def test_names_that_are_looked_into() -> None:
    assert all(map(is_coco_name, ("annotations.json", "_annotations.coco.json", "instances_val2017.json", "COCO.json")))
    assert not any(map(is_coco_name, ("captions_val2017.json", "labels.json", "package.json", "annotations.csv")))
