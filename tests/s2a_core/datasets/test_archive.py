"""Archives are unpacked once, and a hostile one leaves nothing behind."""

from __future__ import annotations

import io
import os
import random
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from s2a_core.datasets import archive as archives
from s2a_core.datasets import open_dataset
from s2a_core.datasets.archive import is_archive, unpack
from s2a_core.errors import BadDataset
from tests.s2a_core.datasets.conftest import MakeFolder


def tar_with(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def file_member(name: str) -> tarfile.TarInfo:
    return tarfile.TarInfo(name)


def link_member(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz"])
def test_an_archive_opens_like_its_directory(suffix: str, tmp_path: Path, make_folder: MakeFolder) -> None:
    folder = make_folder(("train", "val"))
    packed = tmp_path / f"photos{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(packed, "w") as zipped:
            for file in sorted(folder.rglob("*.png")):
                zipped.write(file, f"photos/{file.relative_to(folder)}")
            zipped.writestr("__MACOSX/photos/._x.png", b"junk")
    else:
        mode = {".tar": "w", ".tar.xz": "w:xz"}.get(suffix, "w:gz")
        with tarfile.open(packed, mode) as tar:  # type: ignore[call-overload]
            tar.add(folder, "photos")
    opened = open_dataset(packed, cache=tmp_path / "cache")
    assert (opened.report.num_train, opened.report.num_val, opened.classes) == (10, 10, ("a", "b"))
    assert opened.report.fingerprint == open_dataset(folder).report.fingerprint
    assert unpack(packed, tmp_path / "cache") == unpack(packed, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("name", ["../evil.png", "/tmp/evil.png", "a/../../evil.png", "C:/evil.png", "a\\..\\evil.png"])
def test_paths_that_leave_the_archive_are_refused(name: str, tmp_path: Path) -> None:
    tar = tar_with(tmp_path / "a.tar", [(file_member(name), b"x"), (file_member("a/1.png"), b"x")])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        zipped.writestr(entry, b"x")
    for packed in (tar, tmp_path / "a.zip"):
        with pytest.raises(BadDataset, match="leaves the archive"):
            unpack(packed, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "evil.png").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    packed = tar_with(tmp_path / "a.tar", [(link_member("a/1.png", kind), b"")])
    with pytest.raises(BadDataset, match=r"a/1\.png: is a link or a device"):
        unpack(packed, tmp_path / "cache")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        entry = zipfile.ZipInfo("a/1.png")
        entry.external_attr = 0o120777 << 16
        zipped.writestr(entry, "/etc/passwd")
    with pytest.raises(BadDataset, match="is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "cache")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_bomb_is_stopped_while_it_unpacks(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 16)
    zeros = bytes(1 << 23)
    if suffix == ".zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("a/1.png", zeros)
    else:
        tar_with(tmp_path / "a.tar.gz", [(file_member("a/1.png"), zeros)])
    with pytest.raises(BadDataset, match="decompression bomb"):
        unpack(tmp_path / f"a{suffix}", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_rubbish_and_empty_archives_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"not a zip at all")
    (tmp_path / "a.tar").write_bytes(b"not a tar at all" * 100)
    tar_with(tmp_path / "b.tar", [])
    for name, reason in (("a.zip", "cannot be unpacked"), ("a.tar", "cannot be unpacked"), ("b.tar", "holds no files")):
        with pytest.raises(BadDataset, match=reason):
            unpack(tmp_path / name, tmp_path / "cache")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_entry_of_a_zip_is_named(method: int, tmp_path: Path) -> None:
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", method) as zipped:
        zipped.writestr("a/1.png", b"fine" * 100)
        zipped.writestr("a/2.png", random.Random(0).randbytes(500))
        offset = zipped.getinfo("a/2.png").header_offset
    content = bytearray(packed.read_bytes())
    content[offset + 60 : offset + 90] = b"\xff" * 30
    packed.write_bytes(content)
    with pytest.raises(BadDataset, match=r"a\.zip: a/2\.png: cannot be unpacked .*make it again"):
        unpack(packed, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_tar_that_was_cut_off_names_the_entry(suffix: str, tmp_path: Path) -> None:
    members = [(file_member(f"a/{i}.png"), random.Random(i).randbytes(30_000)) for i in range(3)]
    packed = tar_with(tmp_path / f"a{suffix}", members)
    packed.write_bytes(packed.read_bytes()[:45_000])
    with pytest.raises(BadDataset, match=r"a/1\.png: cannot be unpacked"):
        unpack(packed, tmp_path / "cache")


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    packed = tar_with(tmp_path / "a.tar", [(file_member("a/1.png"), b"x"), (file_member("a/1.png"), b"y")])
    with pytest.raises(BadDataset, match="twice"):
        unpack(packed, tmp_path / "cache")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes as a name: Linux")
def test_names_in_old_encodings_open(tmp_path: Path, make_folder: MakeFolder) -> None:
    files = sorted(make_folder(classes=("a", "cafe")).rglob("*.png"))
    packed = tmp_path / os.fsdecode(b"\xe9.tar")
    with tarfile.open(packed, "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as tar:
        for file in files:
            tar.add(file, f"{file.parent.name}/{file.name}".replace("cafe", "café"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        for file in files:
            zipped.write(file, f"{file.parent.name}/{file.name}")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"cafe/", "café/".encode("cp437")))
    assert open_dataset(packed, cache=tmp_path / "cache").classes == ("a", "caf\\udce9")
    assert open_dataset(tmp_path / "a.zip", cache=tmp_path / "cache").classes == ("a", "café")


def test_archives_are_known_by_name() -> None:
    assert is_archive(Path("x.TAR.GZ"))
    assert not is_archive(Path("x.rar"))
