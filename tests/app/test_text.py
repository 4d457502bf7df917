"""Which text can be stored, and what becomes of the other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.text import NUL, SURROGATE, dumps, printable, refusal, refusals, storable

RIGHT_TO_LEFT, COMBINING, ASTRAL = "\u202eabc\u202c", "e\u0301" * 40, "\U0001f600"


@pytest.mark.parametrize("text", ["", "plain", "é", RIGHT_TO_LEFT, COMBINING, ASTRAL, "\x01", "\ufffd"])
def test_text_of_every_script_is_stored(text: str) -> None:
    assert refusal(text) is None
    assert printable(text) == text
    assert json.loads(dumps([text])) == [text]


@pytest.mark.parametrize(
    ("text", "why", "shown"),
    [("a\0b", NUL, "a\\x00b"), ("\ud800", SURROGATE, "\\ud800"), ("é\udfff", SURROGATE, "é\\udfff")],
)
def test_what_cannot_be_stored_is_refused_or_written_out(text: str, why: str, shown: str) -> None:
    assert refusal(text) == why
    assert refusals({"a": [1, {"b": text}], text: None}) == [((shown,), why), (("a", 1, "b"), why)]
    assert json.loads(dumps({text: [text]})) == {shown: [shown]}


def test_numbers_that_json_has_not() -> None:
    assert storable([float("nan"), float("inf"), 1.5]) == [None, None, 1.5]
    assert dumps({"a": float("nan")}) == '{"a":null}'


def test_a_backslash_is_no_nul() -> None:
    assert json.loads(dumps("\\u0000")) == "\\u0000"


def test_any_depth_is_looked_through() -> None:
    deep: Any = "\0"
    for _ in range(100_000):
        deep = [deep]
    assert len(refusals(deep)[0][0]) == 100_000
