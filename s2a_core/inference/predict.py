"""Predicting what images show with a finished run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from s2a_core.datasets.folder import image_files
from s2a_core.datasets.images import UnreadableImage, read_image
from s2a_core.errors import InvalidInput
from s2a_core.inference.load import LoadedRun
from s2a_core.tasks.task import Prediction as Prediction
from s2a_core.train.images import evaluation_transform


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Files as given and, for a directory, every image that training would read there. Raises InvalidInput."""
    images: list[Path] = []
    problems = []
    for path in paths:
        if path.is_dir():
            inside = list(image_files(path))
            images += inside
            problems += [] if inside else [f"{path}: holds no image files"]
        elif path.is_file():
            images.append(path)
        else:
            problems.append(f"{path}: no such file or directory")
    if problems:
        raise InvalidInput("; ".join(problems), details={"problems": problems})
    return images


def predict(run: LoadedRun, paths: Sequence[Path], top: int = 5, batch_size: int = 32) -> Iterator[Prediction]:
    """One Prediction per path, in order. top: classes per image, at most all of them."""
    prepare = evaluation_transform(run.report["data_config"])
    ranges = (run.report.get("dataset") or {}).get("value_ranges")
    for start in range(0, len(paths), batch_size):
        chunk = paths[start : start + batch_size]
        results: dict[int, Prediction] = {}
        tensors, places, sizes = [], [], []
        for place, path in enumerate(chunk):
            try:
                image = read_image(path, ranges)
                tensors.append(prepare(image))
                places.append(place)
                sizes.append(image.size)
            except UnreadableImage as error:
                results[place] = Prediction(str(path), error=str(error))
        if tensors:
            answers = run.outputs.task.answers.of(logits(run, torch.stack(tensors)), run.outputs, top, sizes)
            for place, answer in zip(places, answers, strict=True):
                results[place] = replace(answer, path=str(chunk[place]))
        yield from (results[place] for place in range(len(chunk)))


@torch.inference_mode()
def logits(run: LoadedRun, images: torch.Tensor) -> torch.Tensor:
    """Logits in fp32. images: [B, 3, H, W], normalised; returns [B, classes], or [B, classes, H, W], on the CPU."""
    return run.model(images.to(run.device)).float().cpu()
