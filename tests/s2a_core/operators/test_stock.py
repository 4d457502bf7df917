"""Stock calls that PyTorch gets wrong, on devices without silicon."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from s2a_core.operators import stock
from tests.fakegpu.double import FakeDevices

Devices = Callable[..., FakeDevices]

LARGE_NORM = """
import json
import torch
from torch import nn
from s2a_core.compression import compress
from s2a_core.storage import Storage, StoragePolicy

model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 2)).cuda()
model[1].weight.requires_grad_(False)
x = torch.ones(70000, 8, device="cuda")
shapes = []
for storage, frozen in ((Storage.NONE, "keep"), (Storage.EXACT, "keep"), (Storage.EXACT, "bf16")):
    policy = StoragePolicy({"2:relu": storage}, Storage.EXACT, frozen_weights=frozen)
    with torch.autocast("cuda", torch.bfloat16), compress(model, policy):
        loss = model(x).float().sum()
    model.zero_grad()
    loss.backward()
    shapes.append(list(model[1].bias.grad.shape))
print(json.dumps(shapes))
"""


@pytest.mark.fakegpu
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_bias_of_a_norm_of_many_rows_trains_beside_its_frozen_weight(fake_devices: Devices) -> None:
    outcome = fake_devices().python(LARGE_NORM)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.document == [[8]] * 3


def test_a_small_norm_is_stocks() -> None:
    x = torch.randn(5, 8, requires_grad=True)
    weight, bias = torch.randn(8), torch.randn(8, requires_grad=True)
    assert torch.equal(stock.layer_norm(x, (8,), weight, bias), F.layer_norm(x, (8,), weight, bias))
