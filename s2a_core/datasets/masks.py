"""Reading one mask: an image whose values are the classes of its pixels, as indexed PNG or 8-bit grey."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from s2a_core.datasets.images import UnreadableImage, image_errors

if TYPE_CHECKING:
    from torch import Tensor

MODES = ("P", "L", "1")  # Pillow's words for indexed, 8-bit grey and black and white
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # of EXIF: what says that width and height change places


@dataclass(frozen=True, slots=True)
class MaskFacts:
    """What a mask holds. size: (width, height); values: sorted; digest: of its size and pixels."""

    size: tuple[int, int]
    values: tuple[int, ...]
    digest: str


def check_mask(path: Path) -> MaskFacts:
    """Facts of a mask. Raises UnreadableImage with the reason, without the file's name."""
    with image_errors(path), Image.open(path) as image:
        if image.format == "JPEG":
            raise UnreadableImage("is a JPEG, which changes values: save masks as PNG")
        if image.mode not in MODES:
            raise UnreadableImage(
                f"is {image.mode}: a mask has one value of 8 bits a pixel, its class; save it as indexed PNG or "
                "8-bit grey"
            )
        pixels = np.asarray(image).astype(np.uint8, copy=False)
        values = np.bincount(pixels.ravel(), minlength=256).nonzero()[0]
        content = hashlib.blake2b(str(image.size).encode() + pixels.tobytes(), digest_size=16)
        return MaskFacts(image.size, tuple(map(int, values)), content.hexdigest())


def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """The class of each pixel, uint8 [height, width]. size: (width, height) of its image as it was read, which is less
    than the mask's where a large JPEG is decoded at a fraction of its size. Raises UnreadableImage.
    """
    import torch

    with image_errors(path), Image.open(path) as image:
        mask = image if image.size == size else image.resize(size, Image.Resampling.NEAREST)
        return torch.from_numpy(np.asarray(mask).astype(np.uint8))


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image once its EXIF rotation is applied. Raises UnreadableImage."""
    with image_errors(path), Image.open(path) as image:
        is_turned = image.getexif().get(ORIENTATION) in TURNED
        return (image.height, image.width) if is_turned else image.size
