"""VPT-deep and the ladder side network keep the backbone's shapes and train only their own parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.networks import LadderSide, VPTDeep


@pytest.mark.parametrize("wrap", [VPTDeep, LadderSide])
def test_it_gives_logits_and_gradients_to_every_parameter_it_adds(wrap: type[nn.Module], vit: nn.Module) -> None:
    vit.requires_grad_(False)
    own = {id(p) for p in vit.parameters()}
    model = wrap(vit)
    logits = model(torch.randn(3, 3, 64, 64))
    assert logits.shape == (3, 5)
    logits.sum().backward()
    added = {n: p for n, p in model.named_parameters() if id(p) not in own}
    assert added
    assert [n for n, p in added.items() if p.grad is None] in ([], ["gate.0"])
