"""`python -m app.runner.datasets FILE`: unpack and look at one dataset, or file of weights, without trusting it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from app.runner.documents import Answer, serve
from app.runner.weights import is_safetensors, summary_of
from s2a_core.datasets import open_dataset
from s2a_core.datasets.access import DataAccess, limited_to
from s2a_core.datasets.archive import unpack
from s2a_core.datasets.coco import is_coco_name
from s2a_core.datasets.folder import IMAGE_SUFFIXES
from s2a_core.datasets.mask_folder import CLASS_NAMES
from s2a_core.datasets.table import TABLE_NAME, TABLE_SUFFIXES
from s2a_core.errors import BadDataset

MAX_PROBLEMS = 100
# Formats that run code when they are opened, and programs: nobody needs them among images.
_SUFFIXES = (
    ".pkl .pickle .pt .pth .ckpt .joblib .npy .npz .bin .h5 .py .pyc .so .dll .dylib .exe .sh .bat .jar .class .php "
    ".js .html .htm .svg .zip .tar .gz .bz2 .xz .7z .rar"
)
TEXTS = frozenset((CLASS_NAMES, *(TABLE_NAME + suffix for suffix in TABLE_SUFFIXES)))
DANGEROUS = frozenset(_SUFFIXES.split())
MAGIC = (
    (0, b"PK\x03\x04", ".zip"),
    (0, b"PK\x05\x06", ".zip"),
    (0, b"\x1f\x8b", ".tar.gz"),
    (0, b"BZh", ".tar.bz2"),
    (0, b"\xfd7zXZ\x00", ".tar.xz"),
    (257, b"ustar", ".tar"),
)


def work(order: dict[str, Any]) -> Answer:
    """Validate a dataset, or weights that were uploaded. order: {kind, source, folder, weights, name, sha256,
    data_access}.

    folder: where an upload's images are put; weights: where a file of weights is. sha256: of what was sent, None where
    the sender did not say.
    """
    root, sha256 = str(order["source"]), None
    try:
        if order["kind"] == "upload":
            sent, folder, weights = (Path(order[name]) for name in ("source", "folder", "weights"))
            if weights.exists() or (sent.exists() and is_safetensors(sent)):
                return _weights(sent, weights, order.get("sha256"))
            source, sha256 = _images_of(sent, folder, order.get("sha256"))
            root = str(source)
        else:
            source = order["source"]
        with limited_to(DataAccess.from_json(order["data_access"])):
            dataset = open_dataset(source)
    except BadDataset as error:
        return {"status": "refused", "reason": _reason(order, root, error)}
    if order["kind"] == "upload":
        for archive in Path(order["folder"]).glob("archive.*"):
            archive.unlink(missing_ok=True)
    summary = dataset.report.to_json()
    summary.update(source=order["name"], classes=list(dataset.classes))
    num_bytes = (
        sum(file.stat().st_size for file in Path(source).rglob("*") if file.is_file()) if root == str(source) else 0
    )
    return {"status": "ready", "summary": summary, "num_bytes": num_bytes, "sha256": sha256}


def _weights(sent: Path, weights: Path, wanted: str | None) -> Answer:
    """The answer about a file of weights, which takes its name; goes on where a child that was killed stopped."""
    if not weights.exists():
        sent.rename(weights)
    sha256 = _checked_sha256(weights, wanted)
    num_bytes = weights.stat().st_size
    return {"status": "ready", "summary": summary_of(weights), "num_bytes": num_bytes, "sha256": sha256}


def _checked_sha256(file: Path, wanted: str | None) -> str:
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    if wanted not in (None, sha256):
        raise BadDataset("archive", [f"arrived with SHA-256 {sha256}, was sent with {wanted}: upload it again"])
    return sha256


def _images_of(archive: Path, folder: Path, wanted: str | None) -> tuple[Path, str | None]:
    """(folder/images with the archive's images and what names their labels, the archive's SHA-256).

    Every other file is dropped, dangerous ones refuse the whole. Goes on where a child that was killed stopped; when
    that was after the archive was done with, its SHA-256 is no longer known.
    """
    images = folder / "images"
    archive = next(folder.glob("archive.*"), archive)
    if not archive.exists():
        if images.is_dir():
            return images, None
        raise BadDataset("archive", ["its files are gone from the service: upload it again"])
    sha256 = _checked_sha256(archive, wanted)
    shutil.rmtree(folder / "unpacking", ignore_errors=True)
    shutil.rmtree(images, ignore_errors=True)
    named = folder / f"archive{_suffix(archive)}"
    archive.rename(named)
    unpacked = unpack(named, folder / "unpacking")
    problems = []
    for directory, _, names in os.walk(unpacked):
        for name in names:
            path = Path(directory, name)
            if path.suffix.lower() in DANGEROUS:
                problems.append(
                    f"{path.relative_to(unpacked).as_posix()}: files of this kind are refused; send images only"
                )
            elif path.suffix.lower() not in IMAGE_SUFFIXES and name not in TEXTS and not is_coco_name(name):
                path.unlink()
    if problems:
        raise BadDataset("archive", problems)
    unpacked.rename(images)
    shutil.rmtree(folder / "unpacking", ignore_errors=True)
    return images, sha256


def _suffix(archive: Path) -> str:
    """The ending that an archive's first bytes ask for, whatever it was called."""
    with archive.open("rb") as file:
        start = file.read(512)
    for offset, magic, suffix in MAGIC:
        if start[offset : offset + len(magic)] == magic:
            return suffix
    raise BadDataset(
        "archive", ["is neither a zip nor a tar (gzip, bzip2 and xz are read too), nor a safetensors file of weights"]
    )


def _reason(order: dict[str, Any], root: str, error: BadDataset) -> dict[str, Any]:
    """What is wrong, without the names of the service's own directories."""
    hidden = [root + "/", root, str(order["folder"]) + "/", str(order["folder"])]
    problems = []
    for problem in error.details["problems"]:
        text = str(problem)
        for path in hidden if order["kind"] == "upload" else []:
            text = text.replace(path, "")
        problems.append(text)
    shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
    details = {"problems": problems[:MAX_PROBLEMS], "num_problems": len(problems)}
    return {"code": error.code, "message": f"{order['name']}: {shown}", "details": details}


if __name__ == "__main__":
    sys.exit(serve(work, "refused"))
