"""Run lengths are those of COCO's own library, and bad ones are refused instead of decoded."""

from __future__ import annotations

import numpy as np
import pytest

from s2a_core.datasets.run_lengths import counts_of, pixels_of


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_texts_and_lists_are_read_as_the_library_writes_them(share: float) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools: pip install 's2a[coco]'")
    pixels = np.random.default_rng(0).random((37, 61)) < share
    text = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"].decode()
    counts = counts_of(text)
    assert counts is not None
    assert sum(counts) == pixels.size
    assert counts_of(counts) == counts
    assert np.array_equal(pixels_of(counts, *pixels.shape), pixels)


@pytest.mark.parametrize("written", [None, 7, [3, -1], [2.0], [True], "~", "0`", "o", "P" * 20 + "0", "é"])
def test_what_is_no_run_lengths_is_none(written: object) -> None:
    assert counts_of(written) is None
