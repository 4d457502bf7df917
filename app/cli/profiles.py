"""Where the command line keeps profiles, so that a second plan of a model takes seconds and loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2a_core.profiling import Profile


def profile_cache() -> Path:
    """The directory of profiles: .cache/s2a/profiles in the user's home."""
    return Path.home() / ".cache" / "s2a" / "profiles"


def cached_profile(model: str, **wanted: Any) -> Profile | None:
    """The profile of an earlier request like this one; None where there is none or data has to be read."""
    from s2a_core.profiling.cache import recall, request_mark

    if wanted.get("data") is not None:
        return None
    return recall(profile_cache(), request_mark(model, **wanted))
