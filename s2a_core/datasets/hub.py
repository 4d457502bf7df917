"""Datasets by name from Hugging Face and torchvision, written once to disk as an ImageFolder directory."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from s2a_core.datasets.access import data_access
from s2a_core.datasets.images import is_wide
from s2a_core.datasets.whole import whole_directory
from s2a_core.errors import BadDataset
from s2a_core.names import distinct

_VAL_SPLITS = ("validation", "valid", "val", "test")
_REMARKS = ".remarks.txt"
# Where torchvision has several data sets under one name: EMNIST's 47 classes with as many images of each.
_VARIANTS = {"EMNIST": {"split": "balanced"}}
_PNG_BELOW_SIDE = 96  # small images are kept without loss, photos as JPEG
_Part = Iterable[tuple[Image.Image, int]]


def hugging_face_folder(name: str, cache: Path) -> Path:
    """Directory with the images of the Hugging Face dataset `owner/name`. Raises BadDataset where it cannot be had."""
    final = cache / ("hf--" + re.sub(r"[^A-Za-z0-9._-]+", "--", name))
    if final.is_dir():
        return final
    try:
        import datasets  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise BadDataset(
            name, ["reading Hugging Face datasets needs the `datasets` package: pip install 's2a[hub]'"]
        ) from error
    if Path(name).exists():  # the library would read that, whosever it is, and never ask the hub
        raise BadDataset(name, ["where s2a runs lies a directory of this name: name it by its path, or run elsewhere"])
    access = data_access()
    own: dict[str, Any] = {"cache_dir": str(access.cache / "hf")} if access.cache else {}
    own |= {} if access.uses_hub_token else {"token": False}
    try:
        loaded: Mapping[str, Any] = datasets.load_dataset(name, **own)
    except Exception as error:  # network, access, scripts, formats: the library raises many types
        raise BadDataset(name, [_unreachable("Hugging Face", error)]) from error
    parts: dict[str, _Part] = {}
    classes: list[str] = []
    for split, folder in _chosen_splits(list(loaded)):
        rows = loaded[split]
        image, label, classes = _columns(name, rows.features)
        parts[folder] = _rows(rows, image, label)
    return _write(name, parts, classes, final)


def torchvision_folder(name: str, cache: Path) -> Path:
    """Directory with the images of torchvision's dataset `name`, in any case. Raises BadDataset."""
    from torchvision import datasets

    wanted = name.replace("-", "").replace("_", "").lower()
    known = {k.lower(): k for k, v in vars(datasets).items() if inspect.isclass(v) and not k.startswith("_")}
    if wanted not in known:
        raise BadDataset(name, [f"torchvision has no such dataset; it has {', '.join(sorted(known.values()))}"])
    final = cache / f"torchvision--{wanted}"
    if final.is_dir():
        return final
    make = getattr(datasets, known[wanted])
    downloads = cache / "torchvision-downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    try:
        train, val = _torchvision_parts(make, downloads)
    except Exception as error:  # network, checksums, missing optional packages: torchvision raises many types
        raise BadDataset(name, [_unreachable("torchvision", error)]) from error
    classes = [str(c) for c in getattr(train, "classes", None) or range(1 + max(int(label) for _, label in train))]
    return _write(name, {"train": train, "val": val} if val is not None else {"train": train}, classes, final)


def remarks_on(folder: Path) -> list[str]:
    """Warnings from when one of these directories was written."""
    remarks = folder / _REMARKS
    return remarks.read_text(encoding="utf-8").splitlines() if remarks.is_file() else []


def torchvision_names() -> frozenset[str]:
    """Lower-case names a user may give without saying `torchvision:`; a list, so that asking does not import torch."""
    return frozenset(
        [
            "cifar10",
            "cifar100",
            "mnist",
            "fashionmnist",
            "kmnist",
            "emnist",
            "qmnist",
            "usps",
            "svhn",
            "stl10",
            "flowers102",
            "oxfordiiitpet",
            "food101",
            "stanfordcars",
            "fgvcaircraft",
            "dtd",
            "eurosat",
            "gtsrb",
            "caltech101",
            "caltech256",
            "sun397",
            "country211",
            "pcam",
            "imagenette",
            "renderedsst2",
            "semeion",
            "omniglot",
        ]
    )


def _torchvision_parts(make: Any, root: Path) -> tuple[Any, Any | None]:
    """(train, val or None) of a torchvision class, whatever it calls its splits."""
    # Also what a class only passes on to the one it is made from, as MNIST's relatives do.
    accepted = {name for base in make.__mro__ for name in inspect.signature(base.__init__).parameters}
    common: dict[str, Any] = {"download": True} if "download" in accepted else {}
    common |= _VARIANTS.get(make.__name__, {})
    if "train" in accepted:
        return make(str(root), train=True, **common), make(str(root), train=False, **common)
    if "split" in accepted:
        train = make(str(root), split="trainval" if make.__name__ == "OxfordIIITPet" else "train", **common)
        for split in ("val", "test"):
            try:
                return train, make(str(root), split=split, **common)
            except ValueError:
                continue
        return train, None
    return make(str(root), **common), None


def _chosen_splits(names: list[str]) -> list[tuple[str, str]]:
    """(split of the dataset, "train" or "val")."""
    train = "train" if "train" in names else names[0]
    val = next((n for n in _VAL_SPLITS if n in names and n != train), None)
    return [(train, "train")] + ([(val, "val")] if val else [])


def _columns(name: str, features: Mapping[str, Any]) -> tuple[str, str, list[str]]:
    """(image column, label column, class names)."""
    images = [key for key, kind in features.items() if type(kind).__name__ == "Image"]
    labels = [key for key, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    if not images or not labels:
        has = ", ".join(f"{key} ({type(kind).__name__})" for key, kind in features.items())
        raise BadDataset(name, [f"needs an Image and a ClassLabel column; it has {has}"])
    label = next((key for key in labels if key in ("label", "labels", "fine_label")), labels[0])
    return images[0], label, list(features[label].names)


def _rows(rows: Any, image: str, label: str) -> Iterator[tuple[Image.Image, int]]:
    for row in rows:
        yield row[image], -1 if row[label] is None else int(row[label])


def _write(name: str, parts: Mapping[str, _Part], classes: list[str], final: Path) -> Path:
    """Images of each part as final/PART/CLASS/NUMBER, complete or not there at all. A label below 0 means none."""
    width = len(str(max(0, len(classes) - 1)))
    # No separators, nothing that would be a hidden directory or one above, and one directory for each class.
    names = distinct(re.sub(r"^\.+|[/\\\0]+", "_", c.strip()) or str(i).zfill(width) for i, c in enumerate(classes))
    num_unlabelled = 0
    with whole_directory(final) as target:
        for part, rows in parts.items():
            for number, (image, label) in enumerate(rows):
                if label < 0:
                    num_unlabelled += 1
                    continue
                directory = target / part / names[int(label)]
                directory.mkdir(parents=True, exist_ok=True)
                if is_wide(image):  # nothing is lost before the range of the whole dataset is known
                    image.save(directory / f"{number:07d}.tif")
                elif min(image.size) <= _PNG_BELOW_SIDE:
                    image.save(directory / f"{number:07d}.png")
                else:
                    image.convert("RGB").save(directory / f"{number:07d}.jpg", quality=95)
        if not (target / "train").is_dir():
            raise BadDataset(name, ["no row of its training part has a label: choose a dataset with labels"])
        if num_unlabelled:
            remark = f"{num_unlabelled} row(s) without a label are not used\n"
            (target / _REMARKS).write_text(remark, encoding="utf-8")
    return final


def _unreachable(where: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"cannot be had from {where} ({reason[:300]}); check the name and the network, "
        "or give a directory or archive of images, or `digits`, which needs no network"
    )
