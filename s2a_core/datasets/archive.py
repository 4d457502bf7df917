"""Unpacking a zip or tar of images without trusting it: no traversal, no links, no devices, no bombs."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from s2a_core.datasets.whole import whole_directory
from s2a_core.errors import BadDataset
from s2a_core.sizes import format_bytes

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# Photos hardly compress. A file of zeros compresses 1,000 times with deflate, millions of times with xz.
MAX_EXPANSION = 100
FREE_BYTES = 256 * 2**20  # an archive may grow to this size whatever its ratio
MAX_FILES = 5_000_000
_CHUNK = 1 << 20
# What zipfile, tarfile and the decompressors below them raise on damaged or unsupported content.
_DAMAGES = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


@dataclass
class _Unpacking:
    """Limits and what was found so far while one archive is unpacked into `target`."""

    archive: Path
    target: Path
    limit_bytes: int
    written_bytes: int = 0
    num_files: int = 0
    problems: list[str] = field(default_factory=list)

    def refuse(self, name: str, reason: str) -> None:
        self.problems.append(f"{name}: {reason}")

    def stop(self, reason: str) -> BadDataset:
        return BadDataset(str(self.archive), [*self.problems, reason])

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Name the entry that cannot be unpacked."""
        try:
            yield
        except _DAMAGES as error:
            raise self.stop(
                f"{name}: cannot be unpacked ({error}); the archive may be damaged: make it again"
            ) from error

    def write(self, name: str, stream: IO[bytes]) -> None:
        """One regular file; its name decides nothing outside `target`, its size is counted as it is written."""
        parts = _safe_parts(name)
        if parts is None:
            self.refuse(name, "its path leaves the archive")
            return
        if any(part == "__MACOSX" or part.startswith("._") for part in parts):
            return
        self.num_files += 1
        if self.num_files > MAX_FILES:
            raise self.stop(f"holds more than {MAX_FILES:,} files")
        path = self.target.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                while chunk := stream.read(_CHUNK):
                    self.written_bytes += len(chunk)
                    if self.written_bytes > self.limit_bytes:
                        raise self.stop(
                            f"unpacks to more than {format_bytes(self.limit_bytes)} "
                            f"({MAX_EXPANSION} times its size): it looks like a decompression bomb"
                        )
                    file.write(chunk)
        except (FileExistsError, NotADirectoryError):
            self.refuse(name, "stands in the archive twice, or as a file and as a directory")


def is_archive(path: Path) -> bool:
    """Whether the name is one of a zip or tar."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, cache: Path) -> Path:
    """Directory under `cache` with the archive's files; unpacked once per content of the archive.

    Raises BadDataset with every refused entry; then nothing is left behind.
    """
    state = archive.stat()
    fingerprint = f"{archive.resolve()}\0{state.st_size}\0{state.st_mtime_ns}"
    key = hashlib.sha256(os.fsencode(fingerprint)).hexdigest()[:24]
    final = cache / key
    if final.is_dir():
        return final
    with whole_directory(final) as target:
        free = shutil.disk_usage(cache).free
        limit = min(max(FREE_BYTES, MAX_EXPANSION * state.st_size), max(0, free - FREE_BYTES))
        work = _Unpacking(archive, target, limit)
        try:
            (_unzip if archive.name.lower().endswith(".zip") else _untar)(work)
        except _DAMAGES as error:
            raise work.stop(f"cannot be unpacked ({error})") from error
        if work.problems:
            raise BadDataset(str(archive), work.problems)
        if not work.num_files:
            raise work.stop("the archive holds no files")
    return final


def _unzip(work: _Unpacking) -> None:
    with zipfile.ZipFile(work.archive) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            kind = (member.external_attr >> 16) & 0o170000
            if kind not in (0, 0o100000):
                work.refuse(member.filename, "is a link or a device, not a file")
            elif member.flag_bits & 1:
                work.refuse(member.filename, "is encrypted")
            else:
                with work.reading(member.filename), archive.open(member) as stream:
                    work.write(member.filename, stream)


def _untar(work: _Unpacking) -> None:
    with tarfile.open(work.archive, "r|*") as archive:
        for member in _bounded(archive, work):
            if member.isdir():
                continue
            if not member.isreg():
                work.refuse(member.name, "is a link or a device, not a file")
                continue
            with work.reading(member.name):
                stream = archive.extractfile(member)
                if stream is not None:
                    work.write(member.name, stream)


def _bounded(archive: tarfile.TarFile, work: _Unpacking) -> Iterator[tarfile.TarInfo]:
    """Members one by one, stopping before skipped members make the stream too long."""
    for member in archive:
        if member.offset + member.size > work.limit_bytes + 1024 * (work.num_files + 1024):
            raise work.stop(
                f"{member.name}: unpacks beyond {format_bytes(work.limit_bytes)}: it looks like a decompression bomb"
            )
        yield member


def _safe_parts(name: str) -> tuple[str, ...] | None:
    """Parts of a relative path, or None where the name is absolute, climbs, or is not a plain path."""
    if not name or "\0" in name or "\\" in name or name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        return None
    parts = PurePosixPath(name).parts
    return None if not parts or ".." in parts else parts
