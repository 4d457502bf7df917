"""What profiling needs of a device: all of it is counted, and however many samples the budget let it measure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakegpu.double import FakeDevices

KIB = 2**10
PROFILES = """
import json
from s2a_core import AdapterSpec, add_adapters, load_model
from s2a_core.device import open_device
from s2a_core.profiling import profile
open_device("cuda", 2**30)
model = add_adapters(load_model("test_vit", weights=None, num_classes=4), AdapterSpec(kinds=("head",))).to("cuda")
sizes = []
for batch_size in (2, 4):
    made = profile(model, 160, batch_size, "bf16", has_baselines=False, sensitivity_s=0.0, refine_s=0.0)
    sizes.append(made.profiling_bytes)
print(json.dumps(sizes))
"""
SEEN = """
import json, sys
import torch
from s2a_core import AdapterSpec, add_adapters, load_model
from s2a_core.compression.frozen import prepare_frozen_weights
from s2a_core.device import device_memory, open_device
from s2a_core.profiling import measure, profile
name, kind = sys.argv[1:]
open_device("cuda", 2**30)
model = add_adapters(load_model(name, weights=None, num_classes=4), AdapterSpec(kinds=(kind,)))
prepare_frozen_weights(model, "bf16", "float")
images = torch.zeros(4, 3, 160, 160), torch.zeros(4, dtype=torch.long)
peaks, reset, counting = [], torch.cuda.reset_peak_memory_stats, measure.alive_while_profiling

def seen(device=None):
    peaks.append(torch.cuda.max_memory_allocated())
    reset(device)

def unseen(*arguments):
    before = len(peaks)
    counted = counting(*arguments)
    del peaks[before:]
    reset()
    return counted

torch.cuda.reset_peak_memory_stats, measure.alive_while_profiling = seen, unseen
made = profile(model.to("cuda"), 160, 1, "bf16", images, adapter=kind, sensitivity_s=0.3, refine_s=0.0)
print(json.dumps([max(peaks) - device_memory("cuda").allocated_workspaces_bytes, made.profiling_bytes]))
"""
pytestmark = [pytest.mark.fakegpu, pytest.mark.slow, pytest.mark.timeout(900)]


def test_it_counts_the_fewest_samples_however_many_were_measured(fake_devices: Callable[..., FakeDevices]) -> None:
    outcome = fake_devices(context_mib=256).python(PROFILES)
    assert outcome.returncode == 0, outcome.stderr
    few, many = outcome.document
    assert few > 600 * KIB  # two images in fp32, and the weights
    assert abs(many - few) <= 64 * KIB


@pytest.mark.parametrize(("name", "kind"), [("test_vit", "lora"), ("test_resnet", "bias"), ("test_convnext", "full")])
def test_no_moment_of_a_profile_of_the_fewest_samples_has_more_alive(
    fake_devices: Callable[..., FakeDevices], name: str, kind: str
) -> None:
    outcome = fake_devices(context_mib=256).python(SEEN, name, kind)
    assert outcome.returncode == 0, outcome.stderr
    seen, counted = outcome.document
    assert 0.9 * counted < seen <= counted + 64 * KIB
