"""Looking at every file: damage, equal files, sizes, colours; quick for many tiny files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PIL import Image

from s2a_core.datasets import inspect
from s2a_core.datasets.inspect import inspect_samples
from s2a_core.datasets.types import Sample
from tests.s2a_core.datasets.conftest import write_image


def test_problems_are_named_in_order_and_facts_are_counted(tmp_path: Path) -> None:
    good = write_image(tmp_path / "good.png", size=(30, 20))
    grey = tmp_path / "grey.png"
    Image.new("L", (9, 12)).save(grey)
    (tmp_path / "empty.png").touch()
    names = ["good.png", "empty.png", "gone.png", "grey.png"]
    found = inspect_samples([Sample(name, tmp_path / name, 0) for name in names])
    assert found.problems == ["empty.png: is empty (0 bytes)", "gone.png: does not exist"]
    assert found.modes == {"RGB": 1, "L": 1}
    assert found.sides == {"min": 9, "median": 9, "max": 30}
    assert good.exists()


def test_equal_files_are_grouped(tmp_path: Path) -> None:
    for name, seed in (("a.png", 1), ("b.png", 2), ("c.png", 1)):
        write_image(tmp_path / name, seed)
    groups = inspect_samples([Sample(n, tmp_path / n, 0) for n in ("a.png", "b.png", "c.png")]).groups
    assert groups == {"a.png": 0, "c.png": 0}


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_cut_off_file_is_found_even_where_images_are_not_decoded(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "DECODE_LIMIT_BYTES", 0)
    path = write_image(tmp_path / f"a{suffix}", size=(200, 200))
    samples = [Sample(path.name, path, 0)]
    assert inspect_samples(samples).problems == []
    path.write_bytes(path.read_bytes()[:-5000])
    assert "is cut off" in inspect_samples(samples).problems[0]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_what_follows_the_end_of_an_image_is_no_damage(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "DECODE_LIMIT_BYTES", 0)
    path = write_image(tmp_path / f"a{suffix}", size=(200, 200))
    whole, samples = path.read_bytes(), [Sample(path.name, path, 0)]
    path.write_bytes(whole + bytes(100_000))
    assert inspect_samples(samples).problems == []
    path.write_bytes(whole[:-5000] + bytes(5000))
    assert "is cut off" in inspect_samples(samples).problems[0]


def test_the_end_of_a_preview_is_not_the_end_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "DECODE_LIMIT_BYTES", 0)
    path = write_image(tmp_path / "a.jpg", size=(200, 200))
    preview = b"\xff\xe1\x00\x08Exif\xff\xd9"
    path.write_bytes(path.read_bytes()[:2] + preview + path.read_bytes()[2:-5000])
    assert "image file is truncated" in inspect_samples([Sample(path.name, path, 0)]).problems[0]


def test_the_fingerprint_changes_with_a_label_but_not_with_the_order(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{i}.png", i) for i in range(2)]
    samples = [Sample(p.name, p, 0) for p in paths]
    mark = inspect_samples(samples).fingerprint
    assert mark == inspect_samples(samples[::-1]).fingerprint
    assert mark != inspect_samples([samples[0], Sample(paths[1].name, paths[1], 1)]).fingerprint


def test_ten_thousand_tiny_files_take_less_than_five_seconds(tmp_path: Path) -> None:
    raw = write_image(tmp_path / "x.png", size=(16, 16)).read_bytes()
    samples = []
    for number in range(10_000):
        path = tmp_path / f"{number}.png"
        path.write_bytes(raw)
        samples.append(Sample(path.name, path, number % 2))
    start = time.perf_counter()
    assert inspect_samples(samples).problems == []
    assert time.perf_counter() - start < 5
