"""Transforms give normalised tensors of the asked size."""

import pytest
from PIL import Image

from s2a_core.train.images import evaluation_transform, training_transform


@pytest.mark.parametrize("size", [32, 96])
def test_images_become_normalised_tensors(size: int) -> None:
    config = {"image_size": size, "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "crop_pct": 0.9}
    image = Image.new("RGB", (70, 50), (255, 255, 255))
    for transform in (evaluation_transform(config), training_transform(config)):
        tensor = transform(image)
        assert tensor.shape == (3, size, size)
        assert tensor.min() == tensor.max() == 1
