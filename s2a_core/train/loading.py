"""Batches of images on the device: the same pixels for a seed, epoch and image, whoever loads them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from timm.data.mixup import Mixup
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from s2a_core.datasets import ImageSplit
from s2a_core.tasks.classification import surest as surest  # of the labels that mixing makes
from s2a_core.tasks.task import Target

MAX_WORKERS, PREFETCHED = 4, 2
SHARED_MEMORY = "/dev/shm"  # where worker processes hand their batches over
USABLE = 0.8  # of what is free there: neighbours hand over batches too


def mixing(mixup: float, cutmix: float, num_classes: int) -> Mixup | None:
    """timm's Mixup of these alphas for pairs of images; None where both are 0. The loss smooths labels, not this."""
    if not mixup and not cutmix:
        return None
    return Mixup(mixup, cutmix, mode="elem", label_smoothing=0.0, num_classes=num_classes)


class SeededSplit(Dataset[tuple[Tensor, Tensor | Target]]):
    """A split whose augmentation draws from a generator seeded by (seed, epoch, index) alone.

    mix: timm's mixup and cutmix, of each image with one drawn from the whole split, so that it is the same whatever the
    micro-batch; labels are then shares of the classes [classes].
    """

    def __init__(self, split: ImageSplit, seed: int, epoch: int, mix: Mixup | None = None) -> None:
        self.split, self.seed, self.epoch, self.mix = split, seed, epoch, mix

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | Target]:
        draws = ((self.seed * 1_000_003 + self.epoch) * 1_000_003 + index) % 2**63
        before, numpy_before = random.getstate(), np.random.get_state()
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(draws)
                random.seed(draws)
                np.random.seed(draws % 2**32)
                image, label = self.split[index]
                if self.mix is not None:
                    other, other_label = self.split[int(np.random.randint(len(self.split)))]
                    images, labels = self.mix(torch.stack([image, other]), torch.tensor([label, other_label]))
                    return images[0], labels[0]
        finally:
            random.setstate(before)
            np.random.set_state(numpy_before)
        return image, label


def batches(
    split: Dataset[tuple[Tensor, Tensor | Target]] | ImageSplit,
    parts: Sequence[Sequence[int]],
    device: torch.device,
    workers: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """(images [B, 3, H, W], targets [B], [B, outputs] or [B, H, W]) on the device for each list of indices.

    CPU: read when asked for, for the cores are busy training. CUDA: read ahead by at most four processes, one image
    batch each, so that the machine's memory is not eaten; fewer where /dev/shm is small, as in a container.
    workers: so many processes instead.
    """
    if workers == 0 or (workers is None and device.type != "cuda"):
        for part in parts:
            x, y = _collate([split[i] for i in part])
            yield x.to(device), y.to(device)
        return
    workers = num_workers(split, parts, workers)
    options: dict[str, Any] = {"prefetch_factor": PREFETCHED} if workers else {}
    loader: DataLoader[Any] = DataLoader(
        split,  # type: ignore[arg-type]
        batch_sampler=list(map(list, parts)),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
        **options,
    )
    for x, y in loader:
        yield x.to(device, non_blocking=True), y.to(device, non_blocking=True)


def num_workers(
    split: Dataset[tuple[Tensor, Tensor | Target]] | ImageSplit,
    parts: Sequence[Sequence[int]],
    wanted: int | None = None,
) -> int:
    """Processes that read ahead: each may hold PREFETCHED batches and the one it makes in shared memory."""
    wanted = max(0, min(MAX_WORKERS, (os.cpu_count() or 1) - 1)) if wanted is None else wanted
    largest = max(map(len, parts), default=0)
    try:
        place = os.statvfs(SHARED_MEMORY)
    except OSError:  # no such place: this system hands tensors over elsewhere
        return wanted
    if wanted == 0 or largest == 0:
        return 0
    batch_bytes = sum(part.nbytes for part in _collate([split[parts[0][0]]])) * largest
    free_bytes = place.f_bavail * place.f_frsize
    return min(wanted, int(USABLE * free_bytes) // ((PREFETCHED + 1) * max(batch_bytes, 1)))


def split_evenly(indices: Sequence[int], size: int) -> list[list[int]]:
    """Consecutive parts of at most `size`."""
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def _collate(pairs: Sequence[tuple[Tensor, Tensor | Target]]) -> tuple[Tensor, Tensor]:
    labels = [torch.as_tensor(label) for _, label in pairs]
    return torch.stack([image for image, _ in pairs]), torch.stack(labels)
