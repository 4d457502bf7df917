"""The cost of decoding is compared within rounds, and a row says each format's ratio."""

from __future__ import annotations

import pytest

from benchmarks import decoding


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    times = {"float": [1.0, 2.0, 4.0], "int8": [1.1, 2.4, 4.0], "nf4": [2.0, 2.0, 4.4]}
    assert decoding.ratios(times) == pytest.approx({"int8": 1.1, "nf4": 1.1})
    row = {"adapter": "bias", "batch": 8, "seconds": times}
    assert decoding.markdown([row]).splitlines()[2] == "| bias | 8 | 3 | 2.00 | 1.10 | 1.10 |"


def test_steps_are_of_every_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MODEL", "s2a_tiny")
    monkeypatch.setattr(decoding, "IMAGE_SIZE", 32)
    times = decoding.seconds("lora-lite", batch=2, rounds=2)
    assert list(times) == ["float", "int8", "nf4"]
    assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in times.values())
