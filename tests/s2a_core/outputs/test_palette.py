"""Colours are those of Pascal VOC, and a mask colours its image where it has a class."""

from __future__ import annotations

import numpy as np
from PIL import Image

from s2a_core.outputs.palette import beside, colours, overlay


def test_colours_are_those_of_pascal_voc() -> None:
    assert colours(6) == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]
    assert len(set(colours(256))) == 256


def test_a_mask_is_enlarged_and_leaves_the_first_class_and_ignored_pixels_bare() -> None:
    image = Image.new("RGB", (8, 4), (100, 100, 100))
    pixels = np.asarray(overlay(image, np.array([[0, 1], [255, 1]])))
    assert pixels.shape == (4, 8, 3)
    assert (pixels[:, :4] == 100).all()
    assert (pixels[:, 4:, 0] > pixels[:, 4:, 1]).all()


def test_pictures_stand_next_to_each_other() -> None:
    both = beside(Image.new("RGB", (3, 2), (255, 0, 0)), Image.new("RGB", (4, 2), (0, 0, 255)))
    assert (both.size, both.getpixel((2, 0)), both.getpixel((3, 1))) == ((7, 2), (255, 0, 0), (0, 0, 255))
