"""Colours of classes, and masks laid over their images."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]
SHARE = 0.55  # of a class's colour over its image


def colours(num: int) -> list[Colour]:
    """As many colours as there are classes, those of Pascal VOC: the bits of an index make its red, green and blue.

    The first is black, usually the background.
    """
    return [_colour(index) for index in range(num)]


def _colour(index: int) -> Colour:
    """Bits 0, 3, 6 of the index become the highest bits of red, bits 1, 4, 7 of green, bits 2, 5 of blue."""
    red, green, blue = (sum((index >> (3 * bit + shift) & 1) << (7 - bit) for bit in range(3)) for shift in range(3))
    return red, green, blue


def overlay(image: Image.Image, mask: Any) -> Image.Image:
    """The image with the colours of a mask [h, w] over it, at the image's size; class 0 and what has none stay bare."""
    resized = Image.fromarray(np.asarray(mask, dtype=np.uint8)).resize(image.size, Image.Resampling.NEAREST)
    index, pixels = np.asarray(resized), np.asarray(image.convert("RGB"), dtype=np.float32)
    table = np.array(colours(256), dtype=np.float32)
    is_drawn = ((index > 0) & (index < 255))[..., None]
    blended = np.where(is_drawn, (1 - SHARE) * pixels + SHARE * table[index], pixels)
    return Image.fromarray(blended.round().astype(np.uint8))


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two pictures of one size next to each other."""
    both = Image.new("RGB", (left.width + right.width, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))
    return both
