"""Text that can be stored, sent and shown: Unicode without NUL (PostgreSQL) and half a surrogate pair (UTF-8)."""

from __future__ import annotations

import json
import math
from typing import Any

NUL = "a NUL character cannot be stored"
SURROGATE = "half of a surrogate pair is no character and cannot be stored"
Place = tuple[str | int, ...]


def refusal(text: str) -> str | None:
    """Why a text cannot be stored, or None."""
    if "\0" in text:
        return NUL
    return None if text.isascii() or _is_unicode(text) else SURROGATE


def refusals(value: Any) -> list[tuple[Place, str]]:
    """(place, why) of every text in a JSON value, names included, that cannot be stored. Of any depth."""
    wrong: list[tuple[Place, str]] = []
    waiting: list[tuple[Place, Any]] = [((), value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, str):
            if why := refusal(item):
                wrong.append((place, why))
        elif isinstance(item, dict):
            for name, part in item.items():
                if isinstance(name, str) and (why := refusal(name)):
                    wrong.append(((*place, printable(name)), why))
                waiting.append(((*place, printable(str(name))), part))
        elif isinstance(item, list | tuple):
            waiting += [((*place, number), part) for number, part in enumerate(item)]
    return wrong


def printable(text: str) -> str:
    r"""The text with what cannot be stored written out, as `\ud800` and `\x00`."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def storable(value: Any) -> Any:
    """A JSON value with every text made printable; numbers that JSON has not (NaN, infinity) become None."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {printable(name) if isinstance(name, str) else name: storable(part) for name, part in value.items()}
    return [storable(part) for part in value] if isinstance(value, list | tuple) else value


def dumps(value: Any) -> str:
    """JSON that every database and browser can read, whatever texts and numbers the value holds."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:  # NaN or infinity
        return dumps(storable(value))
    if _is_unicode(text) and not ("\\u0000" in text and refusals(value)):
        return text
    return dumps(storable(value))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
