"""Pixels depend on seed, epoch and image only."""

import torch

from s2a_core.train.images import training_transform
from s2a_core.train.loading import SeededSplit, batches, split_evenly
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
