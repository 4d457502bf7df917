"""Files and folders that only the service's own user may look into, and secrets kept in such files."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from s2a_core.errors import InvalidInput

FOLDERS = ("jobs", "datasets", "uploads", "profiles", "cache")


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, for this user alone. Raises FileExistsError for a file."""
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
    return path


def private_file(path: Path) -> None:
    """Make an empty file for this user alone; one that is there becomes so."""
    with contextlib.suppress(PermissionError):  # of another user, who shares it by a group: theirs to decide
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)


def protect(data_dir: Path) -> None:
    """Make the data directory and what the service keeps in it. A directory that was there keeps its own mode."""
    private_folder(data_dir)
    for name in FOLDERS:
        with contextlib.suppress(PermissionError):
            private_folder(data_dir / name).chmod(0o700)


def kept_secret(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a file that is made once; of processes that make it together all are given the first one's.

    Raises InvalidInput for one that is empty: anybody could sign with it.
    """
    if not path.exists():
        private_folder(path.parent)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(make())
                file.flush()
                os.fsync(handle)  # a power cut must not leave an empty one under its name
            with contextlib.suppress(FileExistsError):
                os.link(part, path)
        finally:
            part.unlink()
    content = path.read_bytes()
    if not content:
        raise InvalidInput(f"{path} is empty: restore it, or delete it and a new secret is made")
    return content
