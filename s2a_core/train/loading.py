"""Batches of images on the device: the same pixels for a seed, epoch and image, whoever loads them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from s2a_core.datasets import ImageSplit

MAX_WORKERS, PREFETCHED = 4, 2
SHARED_MEMORY = "/dev/shm"  # where worker processes hand their batches over
USABLE = 0.8  # of what is free there: neighbours hand over batches too


class SeededSplit(Dataset[tuple[Tensor, int]]):
    """A split whose augmentation draws from a generator seeded by (seed, epoch, index) alone."""

    def __init__(self, split: ImageSplit, seed: int, epoch: int) -> None:
        self.split, self.seed, self.epoch = split, seed, epoch

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        draws = ((self.seed * 1_000_003 + self.epoch) * 1_000_003 + index) % 2**63
        before, numpy_before = random.getstate(), np.random.get_state()
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(draws)
                random.seed(draws)
                np.random.seed(draws % 2**32)
                image, label = self.split[index]
        finally:
            random.setstate(before)
            np.random.set_state(numpy_before)
        return image, label


def batches(
    split: Dataset[tuple[Tensor, int]] | ImageSplit,
    parts: Sequence[Sequence[int]],
    device: torch.device,
    workers: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """(images [B, 3, H, W], labels [B]) on the device for each list of indices.

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
    split: Dataset[tuple[Tensor, int]] | ImageSplit, parts: Sequence[Sequence[int]], wanted: int | None = None
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
    image, _ = split[parts[0][0]]
    batch_bytes = largest * image.numel() * image.element_size()
    free_bytes = place.f_bavail * place.f_frsize
    return min(wanted, int(USABLE * free_bytes) // ((PREFETCHED + 1) * max(batch_bytes, 1)))


def split_evenly(indices: Sequence[int], size: int) -> list[list[int]]:
    """Consecutive parts of at most `size`."""
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def _collate(pairs: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    return torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs])
