"""When a key ends, in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.expiry import parse_expiry
from s2a_core.errors import InvalidInput


def test_spans_dates_and_never() -> None:
    assert [parse_expiry(words, 1000.0) for words in ("never", "", None)] == [None] * 3
    assert [parse_expiry(words, 1000.0) for words in ("12h", "30d", " 2W ")] == [44200.0, 2593000.0, 1210600.0]
    assert parse_expiry("2027-01-31") == datetime(2027, 2, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("words", ["soon", "0d", "-1d", "30", "2027-02-30", "9999-12-31", "1000000d"])
def test_other_words_are_refused(words: str) -> None:
    with pytest.raises(InvalidInput, match="30d"):
        parse_expiry(words)
