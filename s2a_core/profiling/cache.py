"""Profiles kept on disk, by fingerprint or by the request they were made for, in a directory the caller names."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

from s2a_core import __version__
from s2a_core.errors import StaleProfile
from s2a_core.profiling.types import VERSION, Profile
from s2a_core.sides import ImageSize
from s2a_core.storage import AS_NEEDED


def load_profile(directory: Path, fingerprint: str) -> Profile | None:
    """The profile with this fingerprint, None where there is none, it cannot be read, or another version wrote it."""
    path = _path(directory, fingerprint)
    try:
        profile = Profile.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, StaleProfile):
        return None
    return profile if profile.fingerprint == fingerprint else None


def save_profile(directory: Path, profile: Profile) -> Path:
    """Writes the profile in one step, so that a reader never sees a half of it."""
    return _write(_path(directory, profile.fingerprint), profile.to_json())


def _write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(document, file)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def request_mark(
    model: str,
    *,
    adapter: str,
    weights: str | None = None,
    num_classes: int | None = None,
    image_size: ImageSize | None = None,
    precision: str | None = None,
    weight_format: str = AS_NEEDED,
    device: str | None = None,
    data: str | None = None,
    drop_path: float = 0.0,
    task: str | None = None,
) -> str:
    """A key for a request whose profile is wanted before its model is loaded; imports no torch.

    It changes with the versions of what measures and with the weights file.
    """
    codes = "float" if weight_format == AS_NEEDED else weight_format  # a profile of no format in particular
    parts = [model, adapter, weights, num_classes, image_size, precision, codes, device, data, drop_path, task, VERSION]
    parts += [version("torch"), version("timm"), __version__]  # a bare checkout has no metadata of its own
    path = Path(weights) if weights else None
    if path is not None and path.is_file():
        stat = path.stat()
        parts += [stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def recall(directory: Path, request_key: str) -> Profile | None:
    """The profile made for this request, None where there is none or it cannot be read."""
    try:
        fingerprint: str = json.loads((directory / f"{request_key}.request.json").read_text())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return load_profile(directory / request_key, fingerprint)


def remember(directory: Path, request_key: str, profile: Profile) -> None:
    """Keeps a profile for the next request like this one."""
    save_profile(directory / request_key, profile)
    _write(directory / f"{request_key}.request.json", {"fingerprint": profile.fingerprint})


def _path(directory: Path, fingerprint: str) -> Path:
    return directory / f"{fingerprint}.profile.json"
