"""Sizes of images: one number for a square, HEIGHTxWIDTH for others."""

from __future__ import annotations

import pytest

from s2a_core.errors import InvalidInput
from s2a_core.requests import RunRequest
from s2a_core.sides import ImageSize, image_size, sides


@pytest.mark.parametrize(
    ("size", "expected"), [(224, (224, 224)), ("384x640", (384, 640)), ("64", (64, 64)), ("32x32", (32, 32))]
)
def test_a_size_has_a_height_and_a_width(size: ImageSize, expected: tuple[int, int]) -> None:
    assert sides(size) == expected
    assert sides(image_size(*expected)) == expected
    assert isinstance(image_size(*expected), int) == (expected[0] == expected[1])


@pytest.mark.parametrize("wrong", ["", "x", "384x", "384by640", "384x640x3", "-8x8", "8.5x8", "032x32", "３２"])
def test_any_other_text_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="HEIGHTxWIDTH such as 384x640"):
        sides(wrong)


def test_each_side_of_a_request_has_the_limits() -> None:
    assert RunRequest("m", image_size="384x640").image_size == "384x640"
    assert [RunRequest("m", image_size=same).image_size for same in (64, "64", "64x64")] == [64, 64, 64]
    with pytest.raises(InvalidInput, match="image_size must be from 8 to 4,096, not 5,000"):
        RunRequest("m", image_size="384x5000")
