"""Reading one image of any kind as 8-bit RGB, and checking that it can be read.

Rotation in EXIF is applied; transparency is laid on white; CMYK and palettes are converted; of several frames the
first is taken; 16-bit greys keep their upper byte; floats are stretched to 0..255. A JPEG far larger than any network
looks at is decoded at a fraction of its size.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# Pillow warns above this and refuses above twice as much; the scan refuses above twice as much, by name.
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)
# Nothing is gained from more than this many pixels along the shorter side: networks look at 224 to 1024.
LARGE_SIDE = 2048
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class UnreadableImage(Exception):
    """The file is no image that can be trained on; the message says why, without the file's name."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What one file holds. width, height: pixels as stored; mode: Pillow's name of the colours."""

    width: int
    height: int
    mode: str
    num_frames: int


def read_image(source: Path | bytes) -> Image.Image:
    """The image as 8-bit RGB, upright. Raises UnreadableImage."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if min(image.size) > LARGE_SIDE:
                image.draft("RGB", (LARGE_SIDE, LARGE_SIDE))
            upright = ImageOps.exif_transpose(image)
            return _rgb(upright)
    except Exception as error:  # Pillow's decoders raise almost any type on damaged input
        raise UnreadableImage(_reason(error)) from error


def check_image(source: Path | bytes, *, decode: bool = True) -> ImageFacts:
    """Facts of an image; with `decode` every byte of it is decoded (JPEG at an eighth of its size, which is faster).

    Raises UnreadableImage with the reason.
    """
    raw = source if isinstance(source, bytes) else None
    if raw is not None and not raw:
        raise UnreadableImage("is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(raw) if raw is not None else source) as image:
            facts = ImageFacts(image.width, image.height, image.mode, getattr(image, "n_frames", 1))
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(_too_large(image.width, image.height))
            if decode:
                image.draft("RGB", (32, 32))
                image.load()
            return facts
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow's decoders raise almost any type on damaged input
        raise UnreadableImage(_reason(error)) from error


def _too_large(width: int, height: int) -> str:
    return f"is too large ({width} x {height} pixels, at most {MAX_PIXELS // 10**6} million): make it smaller"


def _reason(error: Exception) -> str:
    """A short reason from what Pillow raised."""
    if isinstance(error, UnidentifiedImageError):
        return "is not an image"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"is too large (more than {MAX_PIXELS // 10**6} million pixels): make it smaller"
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    return f"cannot be decoded ({str(error).splitlines()[0] if str(error) else type(error).__name__})"


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB."""
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(_grey8(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")


def _grey8(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values of 16 or 32 bits, or floats, as uint8. values: [H, W]."""
    if values.dtype.kind in "iu":
        top = int(values.max(initial=0))
        shift = 0 if top <= 255 and values.dtype.itemsize != 2 else max(8, top.bit_length() - 8)
        grey: NDArray[np.uint8] = (np.clip(values, 0, None) >> shift).astype(np.uint8)
        return grey
    finite = np.nan_to_num(values.astype(np.float64))
    low, high = min(0.0, float(finite.min(initial=0.0))), max(1.0, float(finite.max(initial=1.0)))
    stretched: NDArray[np.uint8] = ((finite - low) / (high - low) * 255).round().astype(np.uint8)
    return stretched
