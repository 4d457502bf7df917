"""Frozen weights in bf16: halved once, trainable ones untouched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from s2a_core import profile
from s2a_core.compression import prepare_frozen_weights
from s2a_core.errors import InvalidInput
from tests.fakegpu.double import FakeDevices
from tests.s2a_core.compression.models import small_vit


def test_frozen_weights_are_halved_once() -> None:
    model = small_vit(1)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert prepare_frozen_weights(model, "bf16") == 2 * frozen
    assert prepare_frozen_weights(model, "bf16") == 0
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


def test_scales_beside_statistics_stay_in_fp32_and_are_in_the_profiles_bytes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 2))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("3"))
    narrowed = 8 * 3 * 9 + 8
    made = profile(model.eval(), 8, 2, "bf16", has_baselines=False, sensitivity_s=0)
    assert (made.frozen_bytes, made.params_bytes) == (4 * narrowed, 4 * sum(p.numel() for p in model.parameters()))
    assert (model[0].weight.dtype, model[1].weight.dtype) == (torch.bfloat16, torch.float32)


def test_an_unknown_width_is_refused() -> None:
    with pytest.raises(InvalidInput, match="keep"):
        prepare_frozen_weights(small_vit(1), "fp4")  # type: ignore[arg-type]


@pytest.mark.fakegpu
@pytest.mark.slow
def test_writing_coded_weights_takes_nothing_of_the_device(fake_devices: Callable[..., FakeDevices]) -> None:
    """A run of the smallest budget ends with its files written."""
    code = """
import json, torch
from s2a_core.compression.frozen import plain_state_dict, prepare_frozen_weights
from s2a_core.operators.narrow import NarrowWeight
from tests.s2a_core.compression.models import small_vit
model = small_vit(1)
prepare_frozen_weights(model, "bf16", "int8")
model.to("cuda")
before = torch.cuda.memory_allocated()
torch.cuda.reset_peak_memory_stats()
tensors = plain_state_dict(model)
more = torch.cuda.max_memory_allocated() - before
coded = [name for name, p in model.named_parameters() if isinstance(p, NarrowWeight)]
print(json.dumps([more, len(coded) > 0, all(not tensors[name].is_cuda for name in coded)]))
"""
    assert fake_devices().python(code).document == [0, True, True]
