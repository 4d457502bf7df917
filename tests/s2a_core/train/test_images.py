"""Transforms give normalised tensors of the asked size."""

import numpy as np
import pytest
import torch
from PIL import Image

from s2a_core.datasets import ImageSplit
from s2a_core.errors import InvalidInput
from s2a_core.train.images import evaluation_transform, training_transform
from s2a_core.train.loading import SeededSplit
from tests.s2a_core.train.interrupted import shades

CONFIG = {"image_size": 72, "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "crop_pct": 0.9}


def test_no_augmentation_is_the_evaluation_and_an_unknown_one_is_refused() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 90, 3)).astype(np.uint8))
    assert torch.equal(training_transform(CONFIG, "none")(image), evaluation_transform(CONFIG)(image))
    with pytest.raises(InvalidInput, match="mild, timm, none"):
        training_transform(CONFIG, "strong")


@pytest.mark.parametrize("augmentation", ["mild", "timm"])
def test_augmentation_depends_on_seed_epoch_and_image_alone(augmentation: str) -> None:
    """Whatever was drawn before; torch's, Python's and numpy's generators go on as if no image had been read."""
    split = ImageSplit(shades().train.samples[:12], training_transform(CONFIG, augmentation))
    first = [SeededSplit(split, 1, 2)[i][0] for i in range(12)]
    torch.rand(7), np.random.rand(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    again = [SeededSplit(split, 1, 2)[i][0] for i in reversed(range(12))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    other = [SeededSplit(split, 1, 3)[i][0] for i in range(12)]
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert {tuple(x.shape) for x in first} == {(3, 72, 72)}


@pytest.mark.parametrize("size", [32, 96])
def test_images_become_normalised_tensors(size: int) -> None:
    config = {"image_size": size, "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "crop_pct": 0.9}
    image = Image.new("RGB", (70, 50), (255, 255, 255))
    for transform in (evaluation_transform(config), training_transform(config)):
        tensor = transform(image)
        assert tensor.shape == (3, size, size)
        assert tensor.min() == tensor.max() == 1


def pair(size: tuple[int, int] = (90, 80)) -> tuple[Image.Image, torch.Tensor]:
    """An image whose red channel is 100 times the class of its mask, in squares of 10 pixels."""
    classes = np.random.default_rng(0).integers(0, 3, (size[1] // 10, size[0] // 10)).astype(np.uint8)
    mask = classes.repeat(10, 0).repeat(10, 1)
    return Image.fromarray(np.stack([100 * mask] * 3, -1)), torch.from_numpy(mask)


@pytest.mark.parametrize("size", [48, 72])
@pytest.mark.parametrize("augmentation", ["mild", "none"])
def test_masks_move_with_their_images(augmentation: str, size: int) -> None:
    config = {**CONFIG, "image_size": size, "interpolation": "bilinear", "crop_mode": "squash"}
    transform, (image, mask) = training_transform(config, augmentation), pair()
    seen = set()
    for seed in range(4):
        torch.manual_seed(seed)
        pixels, moved = transform(image, mask)
        assert (pixels.shape, moved.shape, moved.dtype) == ((3, size, size), (size, size), torch.uint8)
        assert type(moved) is torch.Tensor
        guessed = ((pixels[0] * 0.5 + 0.5) * 255 / 100).round()
        assert float((guessed == moved).float().mean()) > 0.8  # edges of the squares are blurred
        seen.add(tuple(moved.flatten().tolist()))
    assert len(seen) == (1 if augmentation == "none" else 4)


def test_an_augmentation_that_would_leave_masks_behind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="timm turns and erases images without their masks"):
        training_transform({**CONFIG, "crop_mode": "squash"}, "timm")


@pytest.mark.parametrize("size", ["24x40", "96x160"])
@pytest.mark.parametrize("augmentation", ["mild", "timm", "none"])
def test_images_of_a_size_that_is_no_square_keep_their_shape(augmentation: str, size: str) -> None:
    height, width = map(int, size.split("x"))
    config = {**CONFIG, "image_size": size, "crop_pct": 1.0}
    wide = Image.new("RGB", (5 * 64, 3 * 64))
    wide.paste((255, 255, 255), (0, 0, 160, 192))  # the left half is white
    pixels = training_transform(config, augmentation)(wide)
    assert pixels.shape == (3, height, width)
    if augmentation == "none":
        assert pixels[:, :, : width // 2 - 2].min() > 0.9
        assert pixels[:, :, width // 2 + 2 :].max() < -0.9
