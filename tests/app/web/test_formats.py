"""Values as people read them."""

from __future__ import annotations

import pytest

from app.web import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (19632636, "18.7 MiB"),
        (2**30 * 3 // 2, "1.5 GiB"),
        (147262952, "140 MiB"),
    ],
)
def test_bytes_have_three_digits(value: int | None, text: str) -> None:
    assert formats.size(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")])
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


def test_times_are_told_from_now() -> None:
    assert formats.ago(None) == "never"
    assert formats.ago(100, now=100.5) == "just now"
    assert formats.ago(100, now=4000) == "1 h ago"
    assert formats.ago(130, now=100) == "in 30 s"
    assert formats.iso(0) == "1970-01-01T00:00:00Z"
    assert formats.clock(3661) == "01:01:01"


def test_shares_and_numbers() -> None:
    assert formats.percent(0.1234) == "12.3 %"
    assert formats.signed(-0.004) == "-0.4 %"
    assert formats.number(1234567) == "1,234,567"
    assert formats.number(3.14159) == "3.14"
    assert formats.gradient_error(7e-8) == "exact"
    assert formats.gradient_error(0.0483) == "4.8 %"
    assert all(f(None) == "–" for f in (formats.percent, formats.signed, formats.number, formats.gradient_error))


def test_a_gradient_error_is_judged_by_the_planners_limits() -> None:
    assert "harmless below 1 %" in formats.error_meaning(0.0004)
    assert "up to 10 %" in formats.error_meaning(0.05)
    assert "large" in formats.error_meaning(0.2)
    assert formats.error_meaning(None) == ""
    assert formats.up_to_mib(2**20 + 1) == "2MiB"
