"""Pixels depend on seed, epoch and image only."""

import os
from types import SimpleNamespace

import pytest
import torch

from s2a_core.train.images import training_transform
from s2a_core.train.loading import SeededSplit, batches, num_workers, split_evenly
from tests.s2a_core.runs import few_digits

CONFIG = {"image_size": 96, "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "crop_pct": 0.9}


def test_an_image_is_augmented_the_same_whatever_was_drawn_before_and_draws_nothing_itself() -> None:
    split = few_digits().train.with_transform(training_transform(CONFIG))
    first = SeededSplit(split, seed=1, epoch=2)[5][0]
    torch.rand(7)
    state = torch.get_rng_state()
    assert torch.equal(SeededSplit(split, 1, 2)[5][0], first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(SeededSplit(split, 1, 3)[5][0], first)
    assert not torch.equal(SeededSplit(split, 2, 2)[5][0], first)


def test_batches_hold_the_asked_images_in_order() -> None:
    split = few_digits().train.with_transform(training_transform(CONFIG))
    parts = split_evenly(range(10), 4)
    assert parts == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    found = list(batches(split, parts, torch.device("cpu")))
    assert [tuple(x.shape) for x, _ in found] == [(4, 3, 96, 96), (4, 3, 96, 96), (2, 3, 96, 96)]
    assert [label for _, y in found for label in y.tolist()] == split.labels[:10]


def test_processes_that_read_ahead_give_the_same_batches() -> None:
    split = few_digits().train.with_transform(training_transform({**CONFIG, "image_size": 32}, "none"))
    parts = split_evenly(range(6), 4)
    alone, ahead = (list(batches(split, parts, torch.device("cpu"), workers=n)) for n in (0, 1))
    assert all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(alone, ahead, strict=True))


BATCH_BYTES = 16 * 3 * 96 * 96 * 4


@pytest.mark.parametrize(
    ("free_bytes", "cores", "workers"),
    [(64 * 2**30, 8, 4), (64 * 2**30, 2, 1), (10 * BATCH_BYTES, 8, 2), (3 * BATCH_BYTES, 8, 0), (0, 8, 0), (0, 1, 0)],
)
def test_no_more_processes_read_ahead_than_shared_memory_holds(
    free_bytes: int, cores: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's default of 64 MiB ended batches of 16 at 224 px in a bus error."""
    split = few_digits().train.with_transform(training_transform(CONFIG))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free_bytes, f_frsize=1))
    assert num_workers(split, split_evenly(range(32), 16)) == workers


def test_where_there_is_no_shared_memory_the_cores_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "statvfs", missing)
    assert num_workers(few_digits().train, [[0]]) == 4
