"""Answers that can always be sent."""

from __future__ import annotations

from app.responses import JsonAnswer


def test_what_was_stored_before_texts_were_checked_is_sent() -> None:
    assert JsonAnswer({"a": "\ud800", "b": float("nan")}).body == b'{"a":"\\\\ud800","b":null}'
