"""Steps of the benchmark's seven families on a device without silicon: the host waits for nothing inside a step."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.fakegpu.double import FakeDevices

pytestmark = [pytest.mark.fakegpu, pytest.mark.slow, pytest.mark.timeout(900)]
Devices = Callable[..., FakeDevices]

# Small members: ViT, DeiT, Swin, ConvNeXt, ResNet, MobileNetV2, EfficientNet.
FAMILIES = {
    "vit_tiny_patch16_224": {"img_size": 64},
    "deit_tiny_patch16_224": {"img_size": 64},
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 4, "depths": (2, 2, 2, 2)},
    "convnext_atto": {},
    "resnet18": {},
    "mobilenetv2_050": {},
    "efficientnet_b0": {},
}
STEPS = """
import copy, json, sys
import timm, torch
from benchmarks.contestants import Runner, bias
from benchmarks.host import counters, step_of, under
from benchmarks.ours import policy
from s2a_core.storage import Storage, StoragePolicy

def counted(step):
    before = counters()
    step()
    return {name: value - before[name] for name, value in counters().items()}

counts = {}
for name, options in json.loads(sys.argv[1]).items():
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10, **options)
    example = torch.randn(2, 3, 64, 64)
    x = torch.randn(4, 3, 64, 64, device="cuda")
    y = torch.zeros(4, dtype=torch.long, device="cuda")
    stock = bias(copy.deepcopy(model), example)
    for whole in ("codes", "block"):
        sites = policy(stock.model, example.to(torch.bfloat16), 4, whole).sites
        chosen = StoragePolicy(sites, Storage.EXACT, chunk_samples=2, frozen_weights="bf16")
        step = step_of(under(bias(copy.deepcopy(model), example).model.to("cuda"), chosen), x, y)
        step()  # compiles, and brings tables to the device
        counts[f"{name} {whole}"] = counted(step)
counts["a step that waits"] = counted(lambda: torch.ones(3, device="cuda").sum().item())
print(json.dumps(counts))
"""


def test_a_step_of_each_family_neither_synchronises_nor_copies_to_or_from_the_host(fake_devices: Devices) -> None:
    outcome = fake_devices().python(STEPS, json.dumps(FAMILIES), timeout_s=840)
    assert outcome.returncode == 0, outcome.stderr
    counts = outcome.document
    assert counts.pop("a step that waits")["to_host"] == 1
    assert len(counts) == 2 * len(FAMILIES)
    for label, count in counts.items():
        assert count.pop("launches") > 100, label
        assert count == {"syncs": 0, "to_host": 0, "to_device": 0}, label
