"""s2a as a contestant saves memory on a small ViT and stays close to the exact gradient."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks import measure
from benchmarks.contestants import COMMON
from benchmarks.ours import UNIFORM, cheapest
from s2a_core.storage import Storage


def test_the_cheapest_storage_is_exact_and_free_before_codes() -> None:
    assert cheapest((Storage.EXACT, Storage.MASK, Storage.B4), Storage.B4) is Storage.MASK
    assert cheapest((Storage.EXACT, Storage.B4), Storage.B4) is Storage.B4
    assert cheapest((Storage.EXACT,), Storage.B4) is Storage.EXACT


def test_regions_at_six_bits_hold_less_and_keep_the_gradient(vit: nn.Module) -> None:
    batches = [measure.images(b, 64, 5, torch.float32) for b in (2, 4)]
    x, y = batches[1]
    stock = measure.ready(next(c for c in COMMON if c.name == "bias"), vit, x)
    ours = measure.ready(next(c for c in UNIFORM if "regions 6" in c.name), vit, x)
    assert measure.cosine(measure.gradients(ours, x, y), measure.gradients(stock, x, y)) > 0.99
    assert measure.memory(ours, batches).held_per_sample < measure.memory(stock, batches).held_per_sample / 4
