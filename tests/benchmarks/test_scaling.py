"""Peak grows with the batch along a straight line for stock bias tuning."""

from __future__ import annotations

import pytest

from benchmarks import scaling
from benchmarks.contestants import COMMON


def test_the_peak_of_bias_tuning_is_linear_in_the_batch() -> None:
    bias = next(c for c in COMMON if c.name == "bias")
    curve = scaling.curve(bias, "batch", (16, 32, 48), [(b, 64, 2) for b in (16, 32, 48)])
    first, second = curve.peak_bytes[1] - curve.peak_bytes[0], curve.peak_bytes[2] - curve.peak_bytes[1]
    assert second == pytest.approx(first, rel=0.02)
    assert len(curve.step_ms) == 3
