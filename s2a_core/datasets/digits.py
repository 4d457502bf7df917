"""The built-in dataset `digits`: scikit-learn's 1,797 handwritten digits as 32-pixel images. Needs no network."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from s2a_core.datasets.types import Sample

SIDE = 32


def digits_samples() -> tuple[list[Sample], list[str]]:
    """(samples, class names): 8 x 8 pixels of 17 grey levels, enlarged to 32 x 32, dark strokes on white.

    Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (the copy in scikit-learn).
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    samples = []
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        grey = (255 - pixels * (255 / 16)).round().astype(np.uint8)  # [8, 8]
        enlarged = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        encoded = io.BytesIO()
        enlarged.save(encoded, "PNG")
        samples.append(Sample(f"{label}/{number:04d}.png", encoded.getvalue(), int(label)))
    return samples, [str(name) for name in digits.target_names]
