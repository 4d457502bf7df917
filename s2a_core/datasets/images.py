"""Reading one image of any kind as 8-bit RGB, and checking that it can be read.

Rotation in EXIF is applied; transparency is laid on white; CMYK and palettes are converted; of several frames the
first is taken. Values of more than 8 bits (16 and 32-bit greys, floats, 16-bit colours) are mapped to 0..255 by one
range for a whole dataset, which the scan finds: images of a 12-bit sensor are then as bright as 8-bit copies of them.
A JPEG far larger than any network looks at is decoded at a fraction of its size.
"""

from __future__ import annotations

import errno
import io
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
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


# Kind of wide values ("integer" or "float") -> (value that becomes 0, value that becomes 255).
Ranges = Mapping[str, tuple[float, float]]


class UnreadableImage(Exception):
    """The file is no image that can be trained on; the message says why, without the file's name."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What one file holds. width, height: pixels as stored; mode: Pillow's name of the colours.

    values: of an image of more than 8 bits, their kind with the least and the largest; is_cut: only the upper 8 bits of
    such an image can be read.
    """

    width: int
    height: int
    mode: str
    num_frames: int
    values: tuple[str, float, float] | None = None
    is_cut: bool = False


def read_image(source: Path | bytes, ranges: Ranges | None = None) -> Image.Image:
    """The image as 8-bit RGB, upright. ranges: of its dataset; the image's own without. Raises UnreadableImage."""
    with image_errors(source), Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        if is_wide(image) and (values := _wide_values(image, source)) is not None:
            narrow = Image.fromarray(_to_8_bits(values, ranges or {}))
            narrow.getexif().update(image.getexif())
            return _rgb(ImageOps.exif_transpose(narrow))
        if min(image.size) > LARGE_SIDE:
            image.draft("RGB", (LARGE_SIDE, LARGE_SIDE))
        return _rgb(ImageOps.exif_transpose(image))


def check_image(source: Path | bytes, *, decode: bool = True) -> ImageFacts:
    """Facts of an image; with `decode` every byte of it is decoded (JPEG at an eighth of its size, which is faster).

    Raises UnreadableImage with the reason.
    """
    raw = source if isinstance(source, bytes) else None
    if raw is not None and not raw:
        raise UnreadableImage("is empty (0 bytes)")
    with image_errors(source), Image.open(io.BytesIO(raw) if raw is not None else source) as image:
        facts = ImageFacts(image.width, image.height, image.mode, getattr(image, "n_frames", 1))
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImage(_too_large(image.width, image.height))
        if is_wide(image):  # whatever the size of the dataset: its range needs every value
            values = _wide_values(image, source)
            if values is not None:
                return replace(facts, values=_extremes(values))
            facts = replace(facts, is_cut=True)
        if decode:
            image.draft("RGB", (32, 32))
            image.load()
        return facts


@contextmanager
def image_errors(source: Path | bytes) -> Iterator[None]:
    """Raises UnreadableImage, with a short reason, for whatever Pillow raises in the block."""
    try:
        yield
    except UnreadableImage:
        raise
    except Exception as error:  # Pillow's decoders raise almost any type on damaged input
        raise UnreadableImage(_reason(error, source)) from error


def is_image_file(path: Path) -> bool:
    """Whether a file begins as an image does, whatever its name."""
    try:
        with Image.open(path):
            return True
    except Exception:  # Pillow's readers raise almost any type on other content
        return False


def is_wide(image: Image.Image) -> bool:
    """Whether an open file has more than 8 bits per value, in greys or, though Pillow calls them 8-bit, in colours."""
    return image.mode in ("I", "F") or image.mode.startswith("I;") or _is_wide_colour(image)


def common_ranges(values: Iterable[tuple[str, float, float]]) -> dict[str, tuple[float, float]]:
    """One range per kind for (kind, least, largest) of all images. Integers end at the full scale of their bits."""
    ranges: dict[str, tuple[float, float]] = {}
    for kind, low, high in values:
        least, largest = ranges.get(kind, (0.0, 1.0))
        full_scale = float(2 ** max(8, int(high).bit_length()) - 1) if kind == "integer" else high
        ranges[kind] = min(least, low), max(largest, full_scale)
    return ranges


def _is_wide_colour(image: Image.Image) -> bool:
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) and not image.mode.startswith("I")


def _wide_values(image: Image.Image, source: Path | bytes) -> NDArray[Any] | None:
    """[H, W] or [H, W, 3]; None for 16-bit colours in a format of which only Pillow reads the upper bytes."""
    if not _is_wide_colour(image):
        return np.asarray(image)
    if image.format != "PNG":
        return None
    import torch
    from torchvision.io import ImageReadMode, decode_image

    encoded = source if isinstance(source, bytes) else source.read_bytes()
    colours = decode_image(torch.frombuffer(bytearray(encoded), dtype=torch.uint8), mode=ImageReadMode.UNCHANGED)
    values: NDArray[Any] = colours.permute(1, 2, 0).numpy()  # [H, W, 2 to 4]: greys or colours, with transparency last
    if values.shape[-1] in (2, 4):
        opacity = values[..., -1:].astype(np.float64) / 65535
        values = (values[..., :-1] * opacity + 65535 * (1 - opacity)).astype(np.uint16)
    return np.repeat(values, 3, -1) if values.shape[-1] == 1 else values


def _extremes(values: NDArray[Any]) -> tuple[str, float, float]:
    kind = "integer" if values.dtype.kind in "iu" else "float"
    finite = values[np.isfinite(values)]
    return kind, float(finite.min(initial=0)), float(finite.max(initial=0))


def _to_8_bits(values: NDArray[Any], ranges: Ranges) -> NDArray[np.uint8]:
    """The range of the values' kind stretched to 0..255; what lies outside is clipped."""
    extremes = _extremes(values)
    low, high = ranges.get(extremes[0]) or common_ranges([extremes])[extremes[0]]
    inside = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low).clip(low, high)
    narrow: NDArray[np.uint8] = ((inside - low) * (255 / (high - low))).round().astype(np.uint8)
    return narrow


def _too_large(width: int, height: int) -> str:
    return f"is too large ({width} x {height} pixels, at most {MAX_PIXELS // 10**6} million): make it smaller"


def _reason(error: Exception, source: Path | bytes) -> str:
    """A short reason from what Pillow raised."""
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return "is a link that leads back to itself"
    if isinstance(error, FileNotFoundError) and isinstance(source, Path) and source.is_symlink():
        return f"is a link to {source.readlink()}, which does not exist"
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
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")
