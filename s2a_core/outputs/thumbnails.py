"""Small pictures inside the page itself, as data addresses."""

from __future__ import annotations

import base64
import io

from PIL import Image

SIDE = 160


def thumbnail(image: Image.Image, side: int = SIDE) -> str:
    """The picture, at most `side` pixels wide and high, as a JPEG data address; small ones grow in whole steps."""
    small = image.convert("RGB")
    if max(small.size) * 2 <= side:
        factor = side // max(small.size)
        small = small.resize((small.width * factor, small.height * factor), Image.Resampling.NEAREST)
    small.thumbnail((side, side))
    encoded = io.BytesIO()
    small.save(encoded, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
