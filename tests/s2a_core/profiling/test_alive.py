"""What profiling needs of a device does not depend on how many samples the budget let it measure."""

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
pytestmark = [pytest.mark.fakegpu, pytest.mark.slow, pytest.mark.timeout(900)]


def test_it_counts_the_fewest_samples_however_many_were_measured(fake_devices: Callable[..., FakeDevices]) -> None:
    outcome = fake_devices(context_mib=256).python(PROFILES)
    assert outcome.returncode == 0, outcome.stderr
    few, many = outcome.document
    assert few > 600 * KIB  # two images in fp32, and the weights
    assert abs(many - few) <= 64 * KIB
