"""The digits are 1,797 dark-on-white PNGs of ten classes."""

from __future__ import annotations

import numpy as np

from s2a_core.datasets.digits import SIDE, digits_samples
from s2a_core.datasets.images import read_image


def test_digits_are_dark_strokes_on_white() -> None:
    samples, classes = digits_samples()
    assert len(samples) == 1797
    assert classes == [str(d) for d in range(10)]
    pixels = np.asarray(read_image(samples[0].source))
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels.min() < 64
