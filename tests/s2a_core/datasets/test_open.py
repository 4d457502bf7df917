"""What a user may give after --data, and the one error that lists everything wrong with it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2a_core.datasets import open_dataset
from s2a_core.errors import BadDataset, InvalidInput
from tests.s2a_core.datasets.conftest import MakeFolder, write_image


def problems_of(source: str | Path) -> list[str]:
    with pytest.raises(BadDataset) as caught:
        open_dataset(source)
    return list(caught.value.details["problems"])


def test_a_folder_without_a_split_gets_a_recorded_one(make_folder: MakeFolder) -> None:
    opened = open_dataset(make_folder(num=10), val_fraction=0.3, seed=7)
    assert opened.report.split == {"made": True, "val_fraction": 0.3, "seed": 7}
    assert opened.report.class_counts == {"a": (7, 3), "b": (7, 3)}
    assert [s.name for s in opened.val.samples] == [
        s.name for s in open_dataset(opened.report.source, 0.3, 7).val.samples
    ]


def test_a_given_split_is_kept(make_folder: MakeFolder) -> None:
    opened = open_dataset(make_folder(("train", "val")))
    assert opened.report.split == {"made": False}
    assert all(s.name.startswith("val/") for s in opened.val.samples)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    assert "the directory is empty" in problems_of(tmp_path)[0]


def test_one_class_is_refused(make_folder: MakeFolder) -> None:
    assert "only one class (a)" in problems_of(make_folder(classes=("a",)))[0]


def test_images_without_class_directories_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png")
    assert "one directory per class" in problems_of(tmp_path)[0]


def test_every_problem_is_listed_by_file_name(make_folder: MakeFolder) -> None:
    folder = make_folder(("train", "val"))
    (folder / "train" / "a" / "0.png").write_bytes(b"")
    (folder / "train" / "b" / "1.png").write_text("no image")
    cut = write_image(folder / "val" / "a" / "cut.jpg", size=(99, 99))
    cut.write_bytes(cut.read_bytes()[:900])
    (folder / "train" / "c").mkdir()
    problems = problems_of(folder)
    assert len(problems) == 4
    for name in ("train/c: the class holds no image", "train/a/0.png: is empty", "train/b/1.png", "val/a/cut.jpg"):
        assert any(problem.startswith(name) for problem in problems), name


def test_the_same_image_on_both_sides_is_a_warning(make_folder: MakeFolder) -> None:
    folder = make_folder(("train", "val"))
    shutil.copy(folder / "train" / "a" / "0.png", folder / "val" / "b" / "copy.png")
    report = open_dataset(folder).report
    assert report.duplicates == (("train/a/0.png", "val/b/copy.png"),)
    assert any("the accuracy is too good" in warning for warning in report.warnings)
    assert any("in several classes" in warning for warning in report.warnings)


def test_unbalanced_classes_are_a_warning(make_folder: MakeFolder) -> None:
    folder = make_folder(num=2)
    for number in range(40):
        write_image(folder / "a" / f"more{number}.png", 100 + number)
    assert any("unbalanced" in warning for warning in open_dataset(folder).report.warnings)


def test_mixed_kinds_of_images_open(make_folder: MakeFolder) -> None:
    folder = make_folder()
    Image.new("RGBA", (9, 9)).save(folder / "a" / "alpha.png")
    Image.new("CMYK", (9, 9)).save(folder / "a" / "press.jpg")
    Image.new("I;16", (9, 9)).save(folder / "b" / "xray.png")
    Image.new("L", (9, 9)).save(folder / "b" / "moving.gif", save_all=True, append_images=[Image.new("L", (9, 9), 99)])
    opened = open_dataset(folder)
    assert {image.mode for split in (opened.train, opened.val) for image, _ in split} == {"RGB"}
    assert set(opened.report.modes) >= {"RGBA", "CMYK", "I;16"}
    assert any("several frames" in warning for warning in opened.report.warnings)
    assert any("more than 8 bits" in warning for warning in opened.report.warnings)


@pytest.mark.parametrize("source", ["no/such/directory/anywhere", "missing.zip", "/nowhere", "digitz"])
def test_what_does_not_exist_says_what_can_be_given(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no such file or directory" in problems_of(source)[0]


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"x")
    assert "but neither an archive" in problems_of(tmp_path / "a.rar")[0]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes as a name: Linux")
def test_a_dataset_of_names_that_are_no_utf8_can_be_reported(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(classes=("a", os.fsdecode(b"caf\xe9"))).rename(tmp_path / os.fsdecode(b"d\xe9p\xf4t"))
    opened = open_dataset(folder)
    assert opened.classes == ("a", "caf\\udce9")
    names = [sample.name for sample in (*opened.train.samples, *opened.val.samples)]
    json.dumps([opened.classes, opened.report.to_json(), names], ensure_ascii=False).encode()
    (folder / os.fsdecode(b"caf\xe9") / os.fsdecode(b"\xe9.png")).touch()
    assert problems_of(folder) == ["caf\\udce9/\\udce9.png: is empty (0 bytes)"]


def test_one_image_per_class_cannot_be_split(make_folder: MakeFolder) -> None:
    assert "nothing can be held out" in problems_of(make_folder(num=1))[0]


def test_a_split_of_nothing_is_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        open_dataset(make_folder(), val_fraction=1.0)


def test_wide_greys_share_one_range_that_the_report_says(tmp_path: Path) -> None:
    for name, value in (("dark", 200), ("bright", 4000)):
        for number in range(4):
            path = tmp_path / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((8, 8), value + number, np.uint16)).save(path)
    data = open_dataset(tmp_path)
    assert data.report.to_json()["value_ranges"] == {"integer": (0.0, 4095.0)}
    assert "8 file(s) hold integer values of more than 8 bits: 0 to 4095 become 0 to 255" in data.report.warnings
    means = {data.classes[label]: np.asarray(image).mean() for image, label in data.val}
    assert means == pytest.approx({"dark": 12, "bright": 249}, abs=1)
