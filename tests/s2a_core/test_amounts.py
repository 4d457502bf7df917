"""Amounts of memory as people write them are read, others refused."""

from __future__ import annotations

import pytest

from s2a_core.amounts import exact_amount, parse_bytes
from s2a_core.errors import BadBudget


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4GiB", 4 * 2**30),
        ("4096MiB", 2**32),
        ("8g", 8 * 2**30),
        ("512M", 512 * 2**20),
        ("4GB", 4 * 10**9),
        ("1.5 gib", 3 * 2**29),
        ("123", 123),
        ("1,024 MiB", 2**30),
        (77, 77),
    ],
)
def test_amounts_are_read(text: str | int, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1GiB", "4 potatoes", "4XB", "GiB", "1e9", "0MiB", "1,5GiB", "1,02,400"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(BadBudget):
        parse_bytes(text)


def test_an_exact_amount_is_read_back_as_it_was() -> None:
    sizes = (2**30, 3 * 2**20, 64 * 2**30 + 2**20, 7)
    assert [exact_amount(n) for n in sizes] == ["1GiB", "3MiB", "65537MiB", "7"]
    assert tuple(parse_bytes(exact_amount(n)) for n in sizes) == sizes
