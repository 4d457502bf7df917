"""How pages write values: bytes, times, shares and durations as people read them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TypeGuard

from s2a_core import sizes
from s2a_core.planning.choice import ACCEPTABLE_ERROR
from s2a_core.planning.objective import NEGLIGIBLE_ERROR

UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
EXACT = 1e-5  # a gradient error below is what rounding causes
PARTS_OF_TIME = ((86400, "d"), (3600, "h"), (60, "min"))


def is_number(value: object) -> TypeGuard[float]:
    """Whether a template found a number, not nothing."""
    return isinstance(value, int | float)


def size(value: float | None) -> str:
    """Bytes in three digits, so that a peak and its budget can be told apart; a dash for none."""
    if not is_number(value):
        return "–"
    for unit, name in UNITS:
        if abs(value) >= unit:
            amount = value / unit
            digits = 2 if abs(amount) < 9.995 else 1 if abs(amount) < 99.95 else 0
            text = f"{amount:,.{digits}f}"
            return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {name}"
    return f"{int(value)} B"


def up_to_mib(value: int) -> str:
    """An amount as a person types it, rounded up to whole MiB so that it is not less."""
    return f"{-(-value // 2**20)}MiB"


def duration(seconds: float | None) -> str:
    """Seconds as one or two units: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    if not is_number(seconds):
        return "–"
    left = max(0, round(seconds))
    if left < 60:
        return f"{left} s"
    words = []
    for unit, name in PARTS_OF_TIME:
        if left >= unit:
            words.append(f"{left // unit} {name}")
            left %= unit
    if left and len(words) < 2 and words[-1].endswith("min"):
        words.append(f"{left} s")
    return " ".join(words[:2])


def ago(at: float | None, now: float | None = None) -> str:
    """How long ago, or how soon, a Unix time is."""
    if not is_number(at):
        return "never"
    distance = (time.time() if now is None else now) - at
    if abs(distance) < 2:
        return "just now"
    words = coarse(abs(distance))
    return f"{words} ago" if distance > 0 else f"in {words}"


def coarse(seconds: float) -> str:
    """A duration in its largest unit."""
    unit, name = next(((u, n) for u, n in PARTS_OF_TIME if seconds >= u), (1, "s"))
    return f"{round(seconds / unit)} {name}"


def iso(at: float | None) -> str:
    """A Unix time as a machine reads it, in UTC."""
    return "" if not is_number(at) else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(at: float | None) -> str:
    """The time of day in UTC."""
    return "–" if not is_number(at) else datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one."""
    return "–" if not is_number(share) else f"{100 * share:.{digits}f} %"


def gib_hours(byte_seconds: float | None) -> str:
    """Byte-seconds in GiB times hours, as a number."""
    return "–" if not is_number(byte_seconds) else sizes.gib_hours(byte_seconds)


def signed(share: float | None, digits: int = 1) -> str:
    """A relative difference with its sign."""
    return "–" if not is_number(share) else f"{100 * share:+.{digits}f} %"


def number(value: float | None) -> str:
    """Three significant digits; whole numbers with separators."""
    if not is_number(value):
        return "–"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:.3g}"


def error_meaning(value: float | None) -> str:
    """What a relative gradient error means for training, in the planner's own limits."""
    if not is_number(value):
        return ""
    if value < EXACT:
        return "the gradients of stock PyTorch, up to rounding"
    if value < NEGLIGIBLE_ERROR:
        return f"harmless below {100 * NEGLIGIBLE_ERROR:.0f} %, where it is lost in the noise between batches"
    if value <= ACCEPTABLE_ERROR:
        return f"small: the planner accepts up to {100 * ACCEPTABLE_ERROR:.0f} %"
    return f"large: above {100 * ACCEPTABLE_ERROR:.0f} % compare the accuracy with that of a larger budget"


def gradient_error(value: float | None) -> str:
    """A relative gradient error in percent; what only rounding causes is called exact."""
    if not is_number(value):
        return "–"
    return "exact" if value < EXACT else f"{100 * value:.2g} %"
