"""What the child does with an archive: images stay, the rest goes; a second try after a kill finds its way."""

from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from app.runner.datasets import work
from tests.s2a_core.tasks.shapes import coco


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for number in range(8):
            image = io.BytesIO()
            Image.frombytes("RGB", (8, 8), random.Random(number).randbytes(192)).save(image, "PNG")
            file.writestr(f"top/{'ab'[number % 2]}/{number}.png", image.getvalue())
        file.writestr("top/README.txt", "hello")


def order(folder: Path, **changes: object) -> dict[str, object]:
    access = {"roots": [str(folder)], "cache": str(folder / "cache"), "uses_hub_token": False}
    upload = {"kind": "upload", "source": str(folder / "upload"), "folder": str(folder), "name": "photos"}
    upload["weights"] = str(folder / "weights.safetensors")
    return {**upload, "data_access": access, **changes}


def test_an_archive_that_is_not_the_one_that_was_sent_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "upload")
    answer = work(order(tmp_path, sha256="0" * 64))
    assert answer["status"] == "refused"
    assert "was sent with 000" in answer["reason"]["message"]


@pytest.mark.parametrize("link", ["class", "file", "whole"])
def test_links_out_of_what_a_team_may_read_are_refused(tmp_path: Path, link: str) -> None:
    archive(tmp_path / "upload")
    work(order(tmp_path))
    photos, secrets = tmp_path / "photos", tmp_path / "secrets"
    (tmp_path / "images" / "top").rename(photos)
    secrets.mkdir()
    outside = photos / "b" if link == "class" else photos / "b" / "1.png" if link == "file" else photos
    outside.rename(secrets / "there")
    outside.symlink_to(secrets / "there")
    access = {"roots": [str(photos)], "cache": str(tmp_path / "cache"), "uses_hub_token": False}
    answer = work(order(tmp_path, kind="path", source=str(photos), data_access=access))
    assert answer["status"] == "refused"
    assert "secrets" not in json.dumps(answer)
    inside = work(order(tmp_path, kind="path", source=str(photos)))
    assert inside["status"] == "ready"


def test_an_archive_without_a_name_becomes_a_folder_of_images(tmp_path: Path) -> None:
    archive(tmp_path / "upload")
    answer = work(order(tmp_path))
    assert (answer["status"], answer["summary"]["classes"]) == ("ready", ["a", "b"])
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
    assert answer["num_bytes"] == sum(path.stat().st_size for path in (tmp_path / "images").rglob("*.png"))


def test_a_child_that_was_killed_halfway_leaves_work_the_next_one_can_do(tmp_path: Path) -> None:
    archive(tmp_path / "upload")
    (tmp_path / "upload").rename(tmp_path / "archive.zip")
    (tmp_path / "unpacking" / "half").mkdir(parents=True)
    assert work(order(tmp_path))["status"] == "ready"


def test_a_child_that_was_killed_before_it_could_answer_has_lost_nothing(tmp_path: Path) -> None:
    archive(tmp_path / "upload")
    first = work(order(tmp_path))
    again = work(order(tmp_path))
    assert (again["status"], again["summary"]["fingerprint"]) == ("ready", first["summary"]["fingerprint"])


@pytest.mark.parametrize("suffix", [".png", ".exe"])
def test_names_that_are_no_utf8_can_be_told(suffix: str, tmp_path: Path) -> None:
    archive(tmp_path / "zip")
    with tarfile.open(tmp_path / "upload", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as file:
        with zipfile.ZipFile(tmp_path / "zip") as images:
            for name in images.namelist():
                member = tarfile.TarInfo(f"é/{name.removeprefix('top/')}".replace(".png", suffix))
                member.size = images.getinfo(name).file_size
                file.addfile(member, images.open(name))
                member.name = "b" + member.name
                file.addfile(member, images.open(name))
    answer = work(order(tmp_path))
    assert answer["status"] == ("ready" if suffix == ".png" else "refused")
    assert "\\udce9" in json.dumps(answer, ensure_ascii=False).encode().decode()


def test_an_upload_that_is_gone_is_asked_for_again(tmp_path: Path) -> None:
    answer = work(order(tmp_path))
    assert (answer["status"], answer["reason"]["code"]) == ("refused", "bad_dataset")
    assert "upload it again" in answer["reason"]["message"]


def test_a_named_source(tmp_path: Path) -> None:
    answer = work(order(tmp_path, kind="hub", source="digits"))
    assert (answer["status"], answer["summary"]["num_classes"]) == ("ready", 10)


def test_the_table_of_an_archive_is_kept_and_says_the_task(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "upload", "w") as file:
        for number in range(8):
            image = io.BytesIO()
            Image.frombytes("RGB", (8, 8), random.Random(number).randbytes(192)).save(image, "PNG")
            file.writestr(f"images/{number}.png", image.getvalue())
        rows = "".join(f"images/{number}.png,{number % 2},{number // 4}\n" for number in range(8))
        file.writestr("labels.csv", f"path,odd,large\n{rows}")
        file.writestr("notes.csv", "dropped")
    answer = work(order(tmp_path))
    assert (answer["status"], answer["summary"]["task"]) == ("ready", "multilabel")
    assert answer["summary"]["classes"] == ["odd", "large"]
    assert [path.name for path in (tmp_path / "images").glob("*.csv")] == ["labels.csv"]


def test_coco_annotations_are_kept_of_an_upload_and_become_masks(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="needs pycocotools: pip install 's2a[coco]'")
    coco(tmp_path / "set", 10, "annotations/instances_default.json")
    (tmp_path / "set/notes.json").write_text("{}")
    shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    (tmp_path / "set.zip").rename(tmp_path / "upload")
    answer = work(order(tmp_path))
    assert answer["status"] == "ready", answer
    assert answer["summary"]["task"] == "segmentation"
    assert answer["summary"]["classes"] == ["background", "square", "disk"]
    assert [path.name for path in (tmp_path / "images").rglob("*.json")] == ["instances_default.json"]
