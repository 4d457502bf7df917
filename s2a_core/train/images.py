"""From an RGB image to a normalised tensor: for training with augmentation, for evaluation without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.transforms import ResizeKeepRatio
from timm.data.transforms_factory import create_transform
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from s2a_core.errors import InvalidInput
from s2a_core.models import SQUASH
from s2a_core.requests import AUGMENTATIONS
from s2a_core.sides import sides

Transform = Callable[..., Any]  # of an image, or of an image and its mask [H, W]
_MODES = {"bilinear": v2.InterpolationMode.BILINEAR, "bicubic": v2.InterpolationMode.BICUBIC}
MILD, TIMM = AUGMENTATIONS[:2]
_SMALL = 64  # below this, a random crop of a fraction of the image loses what is on it


class _Pipeline:
    """Geometry on the PIL image, then [3, H, W] fp32, normalised; on its mask too, where it has one, which is then
    [H, W] uint8. Can be pickled.
    """

    def __init__(self, geometry: v2.Transform, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.geometry = geometry
        self.mean = torch.tensor(mean).view(3, 1, 1)
        self.std = torch.tensor(std).view(3, 1, 1)

    def __call__(self, image: Image.Image, mask: Tensor | None = None) -> Any:
        if mask is None:
            return self._normalised(self.geometry(image))
        image, moved = self.geometry(image, tv_tensors.Mask(mask))
        return self._normalised(image), moved.as_subclass(Tensor)

    def _normalised(self, image: Image.Image) -> Tensor:
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8))  # [H, W, 3]
        normalised: Tensor = (pixels.permute(2, 0, 1).float() / 255 - self.mean) / self.std
        return normalised


def evaluation_transform(config: Mapping[str, Any]) -> Transform:
    """Resize so that the crop is `crop_pct` of the side it fills, crop the centre; the whole image where it says so."""
    size = sides(config["image_size"])
    mode = _MODES.get(str(config.get("interpolation")), v2.InterpolationMode.BICUBIC)
    if config.get("crop_mode") == SQUASH:
        return _Pipeline(v2.Resize(size, interpolation=mode), tuple(config["mean"]), tuple(config["std"]))
    share = float(config.get("crop_pct") or 1.0)
    resized = [round(side / share) for side in size]
    is_square = size[0] == size[1]
    covering: Callable[..., Any] = (
        v2.Resize(resized[0], interpolation=mode) if is_square else ResizeKeepRatio(resized, interpolation=mode.value)
    )
    geometry = v2.Compose([covering, v2.CenterCrop(size)])
    return _Pipeline(geometry, tuple(config["mean"]), tuple(config["std"]))


def training_transform(config: Mapping[str, Any], augmentation: str = MILD) -> Transform:
    """The transform of one of AUGMENTATIONS. Raises InvalidInput for another.

    mild: random crop and mirror for photos, and whatever their size for images with masks; for others of at most 64
    pixels a small shift, and no mirror (digits).
    timm: timm's RandAugment, random crop, mirror and erasing, as strong as in its own recipes. none: as in evaluation.
    """
    if augmentation not in AUGMENTATIONS:
        raise InvalidInput(f"augmentation must be one of {', '.join(AUGMENTATIONS)}, not {augmentation!r}")
    if augmentation == "none":
        return evaluation_transform(config)
    size, has_masks = sides(config["image_size"]), config.get("crop_mode") == SQUASH
    if augmentation == TIMM and has_masks:
        raise InvalidInput(
            f"augmentation {TIMM} turns and erases images without their masks: leave it at {MILD}, or say none",
            details={"field": "augmentation"},
        )
    if augmentation == TIMM:
        made: Transform = create_transform(
            size,
            is_training=True,
            scale=(0.35, 1.0),
            auto_augment="rand-m9-mstd0.5-inc1",
            interpolation=str(config.get("interpolation") or "bicubic"),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            re_prob=0.25,
        )
        return made
    mode = _MODES.get(str(config.get("interpolation")), v2.InterpolationMode.BICUBIC)
    if max(size) <= _SMALL and not has_masks:
        steps = [
            v2.Resize(size, interpolation=mode),
            v2.RandomCrop(size, padding=max(size) // 16, padding_mode="edge"),
        ]
    else:
        shape = size[1] / size[0]
        steps = [
            v2.RandomResizedCrop(size, scale=(0.5, 1.0), ratio=(0.8 * shape, 1.25 * shape), interpolation=mode),
            v2.RandomHorizontalFlip(),
        ]
    return _Pipeline(v2.Compose(steps), tuple(config["mean"]), tuple(config["std"]))
