"""ETags and the problems an operation declares."""

from __future__ import annotations

import pytest

from app.api.answers import cached, etag_of, is_known, problems


@pytest.mark.parametrize(
    ("given", "known"),
    [(None, False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("", False)],
)
def test_if_none_match(given: str | None, known: bool) -> None:
    assert is_known('"a"', given) is known


def test_an_etag_follows_the_content() -> None:
    assert etag_of({"a": 1, "b": 2}) == etag_of({"b": 2, "a": 1}) != etag_of({"a": 1, "b": 3})


def test_declared_problems() -> None:
    assert set(problems(404)) == {400, 401, 404, 413, 422, 429, 503}
    assert 304 in cached()
    assert "Retry-After" in problems()[429]["headers"]
