"""Profiles kept on disk by fingerprint, in a directory the caller names."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from s2a_core.errors import StaleProfile
from s2a_core.profiling.types import VERSION, Profile


def load_profile(directory: Path, mark: str) -> Profile | None:
    """The profile with this fingerprint, None where there is none, it cannot be read, or another version wrote it."""
    path = _path(directory, mark)
    try:
        document = json.loads(path.read_text())
        found = Profile.from_json(document) if document.get("version") == VERSION else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if found is not None and found.fingerprint == mark else None


def save_profile(directory: Path, profile: Profile) -> Path:
    """Writes the profile in one step, so that a reader never sees a half of it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = _path(directory, profile.fingerprint)
    handle, temporary = tempfile.mkstemp(dir=directory, suffix=".part")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(profile.to_json(), file)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def require_fresh(profile: Profile, mark: str) -> None:
    """Raises StaleProfile for a profile of another model, adapter, image size, precision, device or version."""
    if profile.fingerprint != mark:
        raise StaleProfile(
            f"this profile is of {profile.model} with {profile.adapter or 'no adapter'} on {profile.device} "
            f"({profile.fingerprint}), not of this model ({mark}): profile again",
            details={"fingerprint": profile.fingerprint, "expected": mark},
        )


def _path(directory: Path, mark: str) -> Path:
    return directory / f"{mark}.profile.json"
