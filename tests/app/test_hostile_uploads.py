"""Thirty hostile uploads: each is refused with a clear problem, and leaves the disk as it was."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.main import create_app
from app.settings import Settings

MIB = 2**20
pytestmark = pytest.mark.slow


def image(kind: str = "PNG", side: int = 8, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), random.Random(seed).randbytes(3 * side * side)).save(file, kind)
    return file.getvalue()


def sound() -> dict[str, bytes]:
    """Two classes of four images: what a good archive holds."""
    return {f"{name}/{i}.png": image(seed=10 * c + i) for c, name in enumerate("ab") for i in range(4)}


def zipped(files: dict[str, bytes], **extra: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, **extra}.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files: dict[str, bytes], members: list[tarfile.TarInfo] | None = None, mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members or []:
            archive.addfile(member)
    return file.getvalue()


def with_name(name: str) -> Callable[[], bytes]:
    return lambda: zipped({**sound(), name: image()})


def link(kind: bytes, name: str, target: str) -> Callable[[], bytes]:
    def make() -> bytes:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        return tarred(sound(), [member])

    return make


def zip_link() -> bytes:
    file = io.BytesIO(zipped(sound()))
    with zipfile.ZipFile(file, "a") as archive:
        entry = zipfile.ZipInfo("a/passwd.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return file.getvalue()


def zip_bomb() -> bytes:
    return zipped({**sound(), "a/zeros.png": bytes(400 * MIB)})


def tar_bomb() -> bytes:
    return gzip.compress(tarred({**sound(), "a/zeros.png": bytes(300 * MIB)}), 1)


def overlapping_bomb() -> bytes:
    """Hundreds of directory entries that all point at one compressed file of zeros."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(8 * MIB)
    body = squeezer.compress(zeros) + squeezer.flush()
    crc = zlib.crc32(zeros)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(body), len(zeros), 7, 0) + b"a/0.png" + body
    central = b""
    for number in range(400):
        name = f"a/{number}.png".encode()
        sizes = (crc, len(body), len(zeros), len(name), 0, 0, 0, 0, 0, 0)
        central += struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes) + name
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 400, 400, len(central), len(local), 0)
    return local + central + end


def pixel_bomb() -> bytes:
    """A PNG of 50,000 x 50,000 pixels in a few bytes."""
    header = struct.pack(">2I5B", 50_000, 50_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return zipped({**sound(), "a/bomb.png": bomb})


def encrypted() -> bytes:
    content = bytearray(zipped(sound()))
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(magic)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(magic, at + 1)
    return bytes(content)


def device() -> bytes:
    member = tarfile.TarInfo("a/null.png")
    member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, 1, 3
    return tarred(sound(), [member])


def twice() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in [*sound().items(), *sound().items()]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("open('/tmp/s2a-was-here', 'w')",))


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "climbs out of the archive": (with_name("../../evil.png"), "leaves the archive"),
    "climbs in the middle": (with_name("a/../../../evil.png"), "leaves the archive"),
    "absolute path": (with_name("/tmp/evil.png"), "leaves the archive"),
    "drive letter": (with_name("C:/evil.png"), "leaves the archive"),
    "backslashes": (with_name("a\\..\\..\\evil.png"), "leaves the archive"),
    "tar that climbs": (lambda: tarred({**sound(), "../evil.png": image()}), "leaves the archive"),
    "tar with an absolute path": (lambda: tarred({**sound(), "/tmp/evil.png": image()}), "leaves the archive"),
    "symbolic link out": (link(tarfile.SYMTYPE, "a/x.png", "/etc/passwd"), "link"),
    "symbolic link to a directory": (link(tarfile.SYMTYPE, "c", "/etc"), "link"),
    "hard link out": (link(tarfile.LNKTYPE, "a/x.png", "../../../etc/passwd"), "link"),
    "link inside a zip": (zip_link, "link"),
    "device": (device, "device"),
    "named pipe": (link(tarfile.FIFOTYPE, "a/x.png", ""), "device"),
    "zip bomb": (zip_bomb, "bomb"),
    "tar bomb": (tar_bomb, "bomb"),
    "overlapping bomb": (overlapping_bomb, ""),
    "image of 2.5 billion pixels": (pixel_bomb, "bomb.png"),
    "truncated zip": (lambda: zipped(sound())[:-200], "cannot be unpacked"),
    "truncated tar": (lambda: gzip.compress(tarred(sound()))[:-300], "cannot be unpacked"),
    "wrong checksum": (lambda: zipped(sound()).replace(b"IDAT", b"IDAX"), ""),
    "not an archive": (lambda: b"MZ" + random.Random(0).randbytes(5000), "neither a zip nor a tar"),
    "an image alone": (image, "neither a zip nor a tar"),
    "a pickle inside": (lambda: zipped(sound(), **{"a/model.pkl": pickle.dumps(Evil())}), "refused"),
    "a pickle called png": (lambda: zipped({**sound(), "a/x.png": pickle.dumps(Evil())}), "x.png"),
    "an archive in an archive": (lambda: zipped(sound(), **{"a/inner.zip": zipped(sound())}), "refused"),
    "encrypted": (encrypted, "encrypted"),
    "10,000 empty files": (lambda: zipped({f"{i % 7}/{i}.png": b"" for i in range(10_000)}), "10000"),
    "names that are no UTF-8": (
        lambda: zipped({**sound(), "a/xx.png": b"no"}).replace(b"a/xx.png", b"a/\xff\xfe.png"),
        "",
    ),
    "the same name twice": (twice, "twice"),
    "nothing inside": (lambda: zipped({}), "no files"),
    "one class": (lambda: zipped({f"a/{i}.png": image(seed=i) for i in range(4)}), "only one class"),
    "text called png": (lambda: zipped({**sound(), "b/t.png": b"hello"}), "t.png"),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("hostile") / "var"
    app = create_app(Settings(data_dir=folder, run_scheduler=False, worker_poll_s=0.02, max_part_bytes=4 * MIB))
    with TestClient(app) as client:
        client.headers["Authorization"] = f"Bearer {app.state.services.keys.create('team-a', 'write')}"
        client.folder = folder  # type: ignore[attr-defined]
        yield client


def upload(service: TestClient, content: bytes, part_bytes: int = 2 * MIB) -> dict[str, Any]:
    """Send an archive in parts and wait until it has been looked at."""
    asked = {"name": "photos", "source": {"kind": "upload", "size": len(content), "filename": "a.zip"}}
    made = service.post("/v1/datasets", json=asked)
    assert made.status_code == 201, made.text
    url = f"/v1/uploads/{made.json()['upload']['id']}"
    for at in range(0, len(content), part_bytes):
        part = content[at : at + part_bytes]
        answer = service.patch(url, content=part, headers={"Upload-Offset": str(at)})
        assert answer.status_code == 200, answer.text
        assert answer.json()["received"] == at + len(part)
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = service.get(made.headers["location"]).json()
        if found["status"] != "validating":
            return found
        assert time.monotonic() < deadline
        time.sleep(0.02)


def disk(folder: Path) -> dict[str, int]:
    """Every file and directory beside the database, with its size."""
    return {
        str(path.relative_to(folder)): path.stat().st_size if path.is_file() else -1
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith("s2a.db")
    }


@pytest.fixture(scope="module")
def before(service: TestClient) -> dict[str, int]:
    """The disk with one good dataset on it."""
    assert upload(service, zipped(sound()))["status"] == "ready"
    return disk(service.folder)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_and_leaves_nothing(service: TestClient, before: dict[str, int], name: str) -> None:
    make, word = HOSTILE[name]
    found = upload(service, make())
    assert found["status"] == "refused", found
    reason = found["reason"]
    assert reason["code"] == "bad_dataset", reason
    text = f"{reason['message']} {reason['details']}"
    assert word in text
    assert str(service.folder) not in text, "the service's directories are told"  # type: ignore[attr-defined]
    assert disk(service.folder) == before  # type: ignore[attr-defined]
    assert not Path("/tmp/s2a-was-here").exists()


def test_there_are_thirty() -> None:
    assert len(HOSTILE) >= 30


def test_a_good_upload_keeps_its_images_only(service: TestClient, before: dict[str, int]) -> None:
    found = upload(service, zipped({**sound(), "README.txt": b"hello", "c/1.png": image(seed=5), "c/2.png": image()}))
    assert found["status"] == "ready", found
    assert found["summary"]["num_classes"] == 3
    assert len(found["sha256"]) == 64
    extra = {name for name in disk(service.folder) if name not in before}  # type: ignore[attr-defined]
    assert not [name for name in extra if name.endswith((".txt", ".zip"))]
    assert sum(name.endswith(".png") for name in extra) == 10
    assert service.delete(f"/v1/datasets/{found['id']}").status_code == 204
    assert disk(service.folder) == before  # type: ignore[attr-defined]
