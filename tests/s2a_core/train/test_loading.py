"""Pixels depend on seed, epoch and image only."""

import os
from types import SimpleNamespace

import pytest
import torch

from s2a_core.train.images import evaluation_transform, training_transform
from s2a_core.train.loading import SeededSplit, batches, mixing, num_workers, split_evenly, surest
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


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_mixing_blends_images_and_their_labels_alike_for_every_micro_batch(mixup: float, cutmix: float) -> None:
    split = few_digits().train.with_transform(evaluation_transform(CONFIG))
    mixed = SeededSplit(split, 1, 2, mixing(mixup, cutmix, 10))
    alone = list(batches(mixed, [[0], [1], [2], [3]], torch.device("cpu")))
    x, y = next(batches(mixed, [[0, 1, 2, 3]], torch.device("cpu")))
    assert torch.equal(torch.cat([part for part, _ in alone]), x)
    assert y.shape == (4, 10)
    assert torch.allclose(y.sum(-1), torch.ones(4))
    assert ((y > 0).sum(-1) <= 2).all()
    blended = [i for i in range(4) if y[i].max() < 1]
    assert blended
    assert all(not torch.equal(x[i], split[i][0]) for i in blended)
    assert torch.equal(surest(y), y.argmax(-1))


def test_without_alphas_nothing_is_mixed() -> None:
    assert mixing(0.0, 0.0, 10) is None
    assert torch.equal(surest(torch.tensor([3, 1])), torch.tensor([3, 1]))
