"""Sizes of images: 224 is a square, `384x640` 384 pixels of height and 640 of width. Imports no torch."""

from __future__ import annotations

import re

from s2a_core.errors import InvalidInput

ImageSize = int | str


def sides(size: ImageSize) -> tuple[int, int]:
    """(height, width) in pixels. Raises InvalidInput for a text that says neither."""
    if isinstance(size, int):
        return size, size
    match = re.fullmatch("([1-9][0-9]{0,8})(?:x([1-9][0-9]{0,8}))?", size)
    if match is None:
        raise InvalidInput(
            f"image_size must be a whole number, or HEIGHTxWIDTH such as 384x640, not {size[:40]!r}",
            details={"field": "image_size"},
        )
    height, width = match.groups()
    return int(height), int(width or height)


def image_size(height: int, width: int) -> ImageSize:
    """A number for a square, else `HEIGHTxWIDTH`: as requests, plans and reports hold it."""
    return height if height == width else f"{height}x{width}"


def timm_size(size: ImageSize) -> int | tuple[int, int]:
    """What timm takes as `img_size`: a number for a square, else (height, width)."""
    height, width = sides(size)
    return height if height == width else (height, width)
