"""Named datasets are written once as image folders; what cannot be reached says so."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from s2a_core.datasets import open_dataset
from s2a_core.datasets.access import DataAccess, limited_to
from s2a_core.datasets.hub import hugging_face_folder, torchvision_folder, torchvision_names
from s2a_core.errors import BadDataset


class ClassLabel:
    names = ("cat", "dog/wolf")


class Rows(list[dict[str, Any]]):
    features = {"image": type("Image", (), {})(), "label": ClassLabel()}


def fake_library(result: Any) -> ModuleType:
    module = ModuleType("datasets")

    def load_dataset(name: str, **asked: Any) -> Any:
        module.asked = asked  # type: ignore[attr-defined]
        if isinstance(result, Exception):
            raise result
        return result

    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    return module


def rows(num: int, side: int) -> Rows:
    return Rows({"image": Image.new("RGB", (side, side), (i, 0, 0)), "label": i % 2} for i in range(num))


def test_a_hugging_face_dataset_becomes_a_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", fake_library({"train": rows(6, 20), "test": rows(4, 200)}))
    opened = open_dataset("hf:someone/pets", cache=tmp_path)
    assert (opened.classes, opened.report.num_train, opened.report.num_val) == (("cat", "dog_wolf"), 6, 4)
    assert sorted({Path(s.name).suffix for s in opened.val.samples}) == [".jpg"]
    monkeypatch.setitem(sys.modules, "datasets", fake_library(RuntimeError("asked twice")))
    assert open_dataset("hf:someone/pets", cache=tmp_path).report.num_train == 6


def labelled(names: tuple[str, ...], labels: list[int | None]) -> Rows:
    table = Rows({"image": Image.new("RGB", (20, 20), (i, 0, 0)), "label": label} for i, label in enumerate(labels))
    table.features = {"image": Rows.features["image"], "label": type("ClassLabel", (), {"names": names})()}
    return table


def test_rows_without_a_label_are_left_out_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = {
        "train": labelled(("cat", "dog"), [0, 1, -1, 0, 1, None]),
        "test": labelled(("cat", "dog"), [-1] * 4),
    }
    monkeypatch.setitem(sys.modules, "datasets", fake_library(splits))
    for _ in range(2):  # written, then found
        opened = open_dataset("hf:someone/pets", cache=tmp_path)
        assert opened.report.class_counts == {"cat": (1, 1), "dog": (1, 1)}
        assert opened.report.split["made"]
        assert "6 row(s) without a label are not used" in opened.report.warnings


def test_a_dataset_without_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", fake_library({"train": labelled(("cat", "dog"), [-1, -1])}))
    with pytest.raises(BadDataset, match="someone/pets: no row of its training part has a label"):
        open_dataset("hf:someone/pets", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_class_names_that_would_be_one_directory_or_none_stay_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a/b", "a_b", "a\\b", "", "..", ".net", " a_b")
    monkeypatch.setitem(sys.modules, "datasets", fake_library({"train": labelled(names, [*range(7), *range(7)])}))
    opened = open_dataset("hf:someone/pets", cache=tmp_path)
    assert sorted(opened.classes) == sorted(["a_b", "a_b (2)", "a_b (3)", "3", "_", "_net", "a_b (4)"])
    assert set(opened.report.class_counts.values()) == {(1, 1)}


def test_an_unreachable_hub_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", fake_library(ConnectionError("name resolution failed")))
    with pytest.raises(BadDataset, match=r"cannot be had from Hugging Face .name resolution failed.*check the name"):
        open_dataset("someone/pets", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BadDataset, match="pip install"):
        hugging_face_folder("someone/pets", tmp_path)


def test_columns_that_are_no_labelled_images_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Rows()
    table.features = {"text": SimpleNamespace()}
    monkeypatch.setitem(sys.modules, "datasets", fake_library({"train": table}))
    with pytest.raises(BadDataset, match="needs an Image and a ClassLabel column; it has text"):
        hugging_face_folder("someone/texts", tmp_path)


def test_a_torchvision_dataset_becomes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import datasets

    class CIFAR10(list[tuple[Image.Image, int]]):
        classes = ("plane", "car")

        def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
            assert download
            super().__init__((Image.new("RGB", (32, 32), (i, 0, 0)), i % 2) for i in range(6 if train else 2))

    monkeypatch.setattr(datasets, "CIFAR10", CIFAR10)
    opened = open_dataset("cifar-10", cache=tmp_path)
    assert (opened.classes, opened.report.num_train, opened.report.num_val) == (("car", "plane"), 6, 2)


@pytest.mark.parametrize(("name", "num_classes"), [("emnist", 47), ("qmnist", 10), ("mnist", 10)])
def test_torchvisions_relatives_of_mnist_can_be_had(
    name: str, num_classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torchvision import datasets

    made = {k.lower(): v for k, v in vars(datasets).items()}[name]
    downloaded: list[bool] = []

    def load(self: Any) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(2 * num_classes) % num_classes
        images = torch.arange(2 * num_classes, dtype=torch.uint8)[:, None, None].expand(-1, 28, 28)
        return images, (labels[:, None].expand(-1, 8) if name == "qmnist" else labels)

    monkeypatch.setattr(made, "download", lambda self: downloaded.append(self.train))
    monkeypatch.setattr(made, "_check_exists", lambda self: True)
    monkeypatch.setattr(made, "_load_data", load)
    opened = open_dataset(name, cache=tmp_path)
    assert (len(opened.classes), opened.report.num_train, opened.report.num_val) == (
        num_classes,
        *[2 * num_classes] * 2,
    )
    assert downloaded == [True, False]


def test_an_unknown_torchvision_name_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadDataset, match="torchvision has no such dataset"):
        torchvision_folder("nonsense", tmp_path)


def test_the_names_we_promise_are_torchvisions() -> None:
    from torchvision import datasets

    assert torchvision_names() <= {name.lower() for name in vars(datasets)}


@pytest.mark.parametrize("source", ["hf:var/datasets", "var/datasets", "hfds/var/datasets"])
def test_a_local_directory_is_never_taken_for_the_hubs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """The library would read it, and it may hold what other people have uploaded."""
    (tmp_path / "var" / "datasets" / "secret").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", fake_library({"train": rows(6, 32)}))
    with (
        limited_to(DataAccess(roots=(), cache=tmp_path / "cache")),
        pytest.raises(BadDataset, match=r"of this name|no such file"),
    ):
        open_dataset(source)


def test_names_are_not_looked_up_in_the_working_directory_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("digits", "private"):
        for number in range(4):
            folder = tmp_path / name / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (number, 0, 0)).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    assert open_dataset("digits").report.num_train + open_dataset("digits").report.num_val == 4
    with limited_to(DataAccess(roots=(), cache=tmp_path / "cache")):
        assert open_dataset("digits").report.kind == "built-in"
        with pytest.raises(BadDataset):
            open_dataset("private")


def test_what_one_team_fetched_is_not_another_teams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = fake_library({"train": rows(6, 32)})
    monkeypatch.setitem(sys.modules, "datasets", library)
    with limited_to(DataAccess(roots=(), cache=tmp_path / "a", uses_hub_token=True)):
        open_dataset("hf:someone/pets")
    assert library.asked == {"cache_dir": str(tmp_path / "a" / "hf")}
    monkeypatch.setitem(sys.modules, "datasets", fake_library(PermissionError("gated")))
    with limited_to(DataAccess(roots=(), cache=tmp_path / "b", uses_hub_token=False)):
        with pytest.raises(BadDataset, match="gated"):
            open_dataset("hf:someone/pets")
    assert sys.modules["datasets"].asked["token"] is False
