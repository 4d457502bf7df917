"""Which data and weights a key may name: built-in names, public hubs, its team's datasets, and allowed directories."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.errors import NotAllowed
from app.services.keys import Caller
from app.settings import Settings
from app.text import refusal
from s2a_core.errors import InvalidInput

BUILT_IN = frozenset({"digits"})
HUB = re.compile(r"(?:hf:|hfds/)?([A-Za-z0-9][\w-]*(?:\.[\w-]+)*/[\w-]+(?:\.[\w-]+)*)")
TORCHVISION = re.compile(r"(?:torchvision:|tv:|torch/)([A-Za-z0-9_-]{1,60})")
WORD = re.compile(r"[A-Za-z0-9_-]{1,60}")
PRETRAINED = "pretrained"
NO_WEIGHTS = re.compile(r"none|pretrained|builtin:[a-z0-9_]+")


def is_path(text: str) -> bool:
    """Whether a text is meant as a file or directory of the service's machine."""
    return text.startswith(("/", "~", ".")) or "\\" in text


def data_source(text: str, caller: Caller, roots: Sequence[Path]) -> str:
    """The source as a runner is given it, never relative to a directory. Raises NotAllowed or InvalidInput."""
    if why := refusal(text):
        raise InvalidInput(f"a source: {why}")
    if is_path(text):
        return str(allowed_path(text, caller, roots))
    if text in BUILT_IN:
        return text
    if match := TORCHVISION.fullmatch(text):
        return f"torchvision:{match[1]}"
    if match := HUB.fullmatch(text):
        return f"hf:{match[1]}"
    if WORD.fullmatch(text):
        return f"torchvision:{text}"
    raise InvalidInput(
        f"{text[:200]!r} is no source: give a dataset's id, an absolute path, `digits`, `torchvision:NAME` or "
        "`hf:owner/name`"
    )


def weights_source(text: str | None, caller: Caller, roots: Sequence[Path]) -> str:
    """`none`, `pretrained`, or an allowed safetensors file. Fine-tuning means pretrained, where nothing was said."""
    if text is None:
        return PRETRAINED
    if NO_WEIGHTS.fullmatch(text):
        return text
    if refusal(text) or not is_path(text):
        raise InvalidInput(
            f"weights are `pretrained`, `none`, an upload's id or an absolute path of a safetensors file, not {text!r}"
        )
    return str(allowed_path(text, caller, roots))


def allowed_path(text: str, caller: Caller, roots: Sequence[Path]) -> Path:
    """An absolute path, links followed, that the caller may name: under a root, or any for an admin.

    Raises NotAllowed with the same words whether the path exists or not, so that nobody can look around.
    """
    path = Path(text)
    if not path.is_absolute():
        raise InvalidInput(f"{text!r} is relative: name data of the service's machine by its absolute path")
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidInput(f"{text[:200]!r} is not a path") from error
    if caller.is_admin or any(resolved.is_relative_to(root.resolve()) for root in roots):
        return resolved
    named = ", ".join(str(root) for root in roots) or "none is allowed: S2A_DATA_ROOTS is empty"
    raise NotAllowed(f"{text[:200]!r} lies outside the directories that keys may name ({named})")


def data_access(settings: Settings, team_id: str, *named: object) -> dict[str, Any]:
    """What a child or a runner may read for a team: the roots, what was named by its path, and a cache of the team's.

    What one team fetched from a hub is never served to another: it may have been shown to that one only.
    """
    paths = [name for name in named if isinstance(name, str) and name.startswith("/")]
    return {
        "roots": [*(str(root.resolve()) for root in settings.data_roots), *paths],
        "cache": str((settings.data_dir / "cache" / "data" / team_id).resolve()),
        "uses_hub_token": settings.share_hub_token,
    }
