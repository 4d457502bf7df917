"""Masks of predictions as indexed PNG files, in the colours of Pascal VOC."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from s2a_core.outputs.atomic import replacing
from s2a_core.outputs.palette import colours
from s2a_core.tasks.task import Prediction


class MaskFiles:
    """Writes the masks of predictions below a directory, as the images lie below what they have in common.

    paths: all images, in the order of their predictions. num: masks written.
    """

    def __init__(self, directory: Path, paths: Sequence[Path], num_classes: int) -> None:
        self.directory, self.num = directory, 0
        self._palette = [value for colour in colours(num_classes) for value in colour]
        root = Path(os.path.commonpath([path.absolute().parent for path in paths])) if paths else Path()
        names = [path.absolute().relative_to(root) for path in paths]
        alike = Counter(name.with_suffix(".png") for name in names)
        self._names = iter(
            name.with_suffix(".png") if alike[name.with_suffix(".png")] == 1 else name.with_name(f"{name.name}.png")
            for name in names
        )

    def written(self, prediction: Prediction) -> Prediction:
        """The prediction of the next image, with the file of its mask where it has one."""
        name = next(self._names)
        if prediction.mask is None:
            return prediction
        path = self.directory / name
        image = Image.fromarray(prediction.mask.numpy(), "P")
        image.putpalette(self._palette)
        with replacing(path) as part:
            image.save(part, "PNG")
        self.num += 1
        return replace(prediction, mask=None, file=str(path))
