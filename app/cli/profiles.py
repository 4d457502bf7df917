"""Where the command line keeps profiles, so that a second plan of a model takes seconds and loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s2a_core.planning.pairs import recorded


def profile_cache() -> Path:
    """The directory of profiles: .cache/s2a/profiles in the user's home."""
    return Path.home() / ".cache" / "s2a" / "profiles"


def pairs_file() -> Path:
    """Where every (predicted, measured) peak of this machine is kept, as JSON lines."""
    return profile_cache().parent / "peak_pairs.jsonl"


def peak_pairs(path: Path) -> list[dict[str, Any]]:
    """Predicted and measured peaks of a file of JSON lines, each with its error and the run that it is of."""
    return [
        vars(pair) | {"error": pair.error, "run": f"{pair.model} {pair.adapter} {pair.precision} {pair.device}"}
        for pair in recorded(path)
    ]
