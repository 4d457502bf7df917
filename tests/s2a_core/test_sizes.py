"""Amounts of memory are written so that they can be typed back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from s2a_core.amounts import parse_bytes
from s2a_core.sizes import format_apart, format_at_least, format_bytes


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
