"""Reading the JSON documents that a run wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s2a_core.errors import InvalidInput


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises InvalidInput where it holds anything else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON ({error}): it is damaged, or s2a did not write it") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{path} holds no JSON object: it is damaged, or s2a did not write it")
    return document
