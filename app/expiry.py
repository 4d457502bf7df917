"""When a key ends, as people say it: `30d`, `12h`, `2w`, a date, or never."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta

from s2a_core.errors import InvalidInput

UNITS_S = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def parse_expiry(text: str | None, now: float | None = None) -> float | None:
    """Unix seconds, None for `never` or nothing; a date ends with its day, in UTC. Raises InvalidInput."""
    words = (text or "").strip().lower()
    if words in ("", "never"):
        return None
    if match := re.fullmatch(r"([1-9][0-9]{0,4})\s*([hdw])", words):
        return (time.time() if now is None else now) + int(match[1]) * UNITS_S[match[2]]
    try:
        day = date.fromisoformat(words)
        return datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"a key expires after 12h, 30d or 2w, on a date such as 2027-01-31, or never, not {words[:40]!r}",
            details={"field": "expires"},
        ) from error
