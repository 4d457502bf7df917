"""Masks are read as the classes of their pixels, whatever 8-bit form they are stored in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from s2a_core.datasets.images import UnreadableImage
from s2a_core.datasets.masks import check_mask, read_mask

PIXELS = np.random.default_rng(0).integers(0, 2, (5, 7)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "P", "1"])
def test_indexed_grey_and_black_and_white_masks_are_read(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    image = (
        Image.fromarray(PIXELS * (255 if mode == "1" else 1)).convert("1") if mode == "1" else Image.fromarray(PIXELS)
    )
    if mode == "P":
        image.putpalette([9, 9, 9, 200, 0, 0])
    image.save(path)
    facts = check_mask(path)
    assert (facts.size, facts.values) == ((7, 5), (0, 1))
    assert torch.equal(read_mask(path, (7, 5)), torch.from_numpy(PIXELS))


def test_a_mask_follows_an_image_that_was_decoded_smaller(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(PIXELS.repeat(2, 0).repeat(2, 1)).save(path)
    assert torch.equal(read_mask(path, (7, 5)), torch.from_numpy(PIXELS))


def test_equal_pixels_have_equal_digests_whatever_their_file(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    Image.fromarray(PIXELS).save(tmp_path / "b.tif")
    Image.fromarray(PIXELS.reshape(7, 5)).save(tmp_path / "c.png")
    a, b, c = (check_mask(tmp_path / name).digest for name in ("a.png", "b.tif", "c.png"))
    assert a == b != c


def test_what_is_no_mask_says_why(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.new("RGBA", (4, 4)).save(path)
    with pytest.raises(UnreadableImage, match="is RGBA: a mask has one value of 8 bits"):
        check_mask(path)
    with pytest.raises(UnreadableImage, match="does not exist"):
        read_mask(tmp_path / "none.png", (4, 4))
