"""Cursors come back as they were made; anything else is refused."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.cursors import BadCursor, decode, encode


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_there_and_back(at: float, name: str) -> None:
    assert decode(encode(at, name), (float, str)) == (at, name)


def forged(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "%%%", *map(forged, ([1], ["a", 1.5], {"a": 1}, [1.5, "a\0"], [1.5, "\ud800"], None))],
)
def test_what_is_no_cursor_of_the_list(cursor: str) -> None:
    with pytest.raises(BadCursor):
        decode(cursor, (float, str))


@given(st.text())
def test_nothing_else_is_raised(text: str) -> None:
    try:
        decode(text, (int,))
    except BadCursor:
        return


def test_numbers_that_no_column_holds() -> None:
    with pytest.raises(BadCursor):
        decode(forged([2**70]), (int,))
