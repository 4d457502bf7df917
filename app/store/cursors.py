"""Opaque cursors: where a page of a list ended, in a form nobody is invited to build or read."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from app.text import refusals
from s2a_core.errors import InvalidInput


class BadCursor(InvalidInput):
    """Not a cursor of this list: send back what `next` said, or leave it out for the first page."""

    code = "bad_cursor"


def encode(*position: float | str) -> str:
    """The cursor of a position."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode(cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """The position a cursor stands for; kinds: the types it must have. Raises BadCursor."""
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        position = None
    is_sound = (
        isinstance(position, list)
        and len(position) == len(kinds)
        and all(
            isinstance(part, kind) or (kind is float and type(part) is int and abs(part) < 2**53)
            for part, kind in zip(position, kinds, strict=True)
        )
        and not refusals(position)
        and not any(isinstance(part, int) and abs(part) >= 2**63 for part in position)
    )
    if not is_sound:
        raise BadCursor("this is not a cursor of this list: send what `next` said, or none for the first page")
    return tuple(position)
