"""Amounts of memory as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2a_core.errors import BadBudget
from s2a_core.sizes import format_apart, format_at_least, format_bytes, parse_bytes


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


def test_bytes_are_written_for_people() -> None:
    assert format_bytes(2**30) == "1,024 MiB"
    assert format_bytes(3 * 2**20) == "3.0 MiB"
    assert format_bytes(2048) == "2 KiB"
    assert format_bytes(12) == "12 B"


@given(st.integers(1, 2**44))
def test_a_smallest_budget_can_be_typed_back_as_it_is_written(num_bytes: int) -> None:
    typed = parse_bytes(format_at_least(num_bytes))
    assert num_bytes <= typed <= 1.1 * num_bytes + 1024


@given(st.integers(1, 2**44), st.integers(1, 2**30))
def test_a_budget_and_the_one_that_is_needed_never_read_alike(less: int, step: int) -> None:
    budget, needed = format_apart(less, less + step)
    assert budget != needed
    assert parse_bytes(needed) >= less + step
