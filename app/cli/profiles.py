"""Where the command line keeps profiles, so that a second plan of a model takes seconds and loads no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2a_core.profiling import Profile
    from s2a_core.requests import RunRequest


def profile_cache() -> Path:
    """The directory of profiles: .cache/s2a/profiles in the user's home."""
    return Path.home() / ".cache" / "s2a" / "profiles"


def pairs_file() -> Path:
    """Where every (predicted, measured) peak of this machine is kept, as JSON lines."""
    return profile_cache().parent / "peak_pairs.jsonl"


def cached_profile(request: RunRequest) -> Profile | None:
    """The profile of an earlier request like this one; None where there is none or data has to be read."""
    from s2a_core.profiling.cache import recall
    from s2a_core.requests import request_mark_of

    if request.data is not None:
        return None
    return recall(profile_cache(), request_mark_of(request))


def known_margin(device: str) -> float:
    """Share of the budget to keep free, from the plans of this device that were verified here; 0 while they are few."""
    from s2a_core.planning.margin import margin_share

    return margin_share([pair["error"] for pair in pairs_of(pairs_file()) if pair["device"] == device], 0.0)


def pairs_of(path: Path) -> list[dict[str, Any]]:
    """Predicted and measured peaks of a file of JSON lines; what cannot be read, an unfinished line say, is left out.

    error: measured over predicted - 1.
    """
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            pair = json.loads(line)
            pair["error"] = pair["measured_bytes"] / max(pair["predicted_bytes"], 1) - 1
            found.append(pair | {"run": f"{pair['model']} {pair['adapter']} {pair['precision']} {pair['device']}"})
        except (ValueError, KeyError, TypeError):
            continue
    return found
