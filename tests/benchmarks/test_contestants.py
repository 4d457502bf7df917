"""Every contestant runs a step on a small ViT; those with an exact twin agree with it as far as they promise."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from benchmarks.contestants import COMMON, Contestant, DoesNotApply
from benchmarks.measure import cosine, gradients, images, ready

LEAST = {"bias + 4-bit hooks (GACT-like)": -1.0, "bias + ReGELU2, MS-LN (LowMemoryBP-like)": 0.9}


@pytest.mark.parametrize("contestant", COMMON, ids=lambda c: c.name)
def test_it_trains_and_agrees_with_its_exact_twin(contestant: Contestant, vit: nn.Module) -> None:
    x, y = images(2, 64, 5, torch.float32)
    actual = gradients(ready(contestant, vit, x), x, y)
    assert actual
    assert all(bool(torch.isfinite(g).all()) for g in actual.values())
    if contestant.exact_as:
        twin = next(c for c in COMMON if c.name == contestant.exact_as)
        assert cosine(actual, gradients(ready(twin, vit, x), x, y)) >= LEAST.get(contestant.name, 0.999)
    torch.compiler.reset()


def test_what_is_written_for_vits_refuses_a_cnn_and_says_so() -> None:
    cnn = timm.create_model("mobilenetv2_050", num_classes=5)
    for name in ("VPT-deep 10", "LST-like side network", "LoRA r8 (peft)"):
        with pytest.raises(DoesNotApply):
            next(c for c in COMMON if c.name == name).build(cnn, torch.zeros(1, 3, 64, 64))
