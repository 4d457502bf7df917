"""Host, device and launches of a step are told apart, on a device without silicon: kernels take no time there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from s2a_core.profiling.device_timing import Timing, per_sample_s
from tests.fakegpu.double import FakeDevices

TIMES = """
import dataclasses, json, timm, torch
from s2a_core import Plan, profile
from s2a_core.profiling.device_timing import Reference, timed, training_step
from s2a_core.storage import Storage, StoragePolicy
from tests.fakegpu.double import own_use

torch.manual_seed(0)
model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2, embed_dim=48, num_heads=3)
for name, parameter in model.named_parameters():
    parameter.requires_grad_(name.endswith("bias") or name.startswith("head"))
model.cuda()
x, y = torch.randn(4, 3, 32, 32, device="cuda"), torch.zeros(4, dtype=torch.long, device="cuda")
counts = []
exact = training_step(model, x, y, StoragePolicy(), "bf16")
exact()
reference = Reference.of(exact, x.device)
for chunk in (4, 1):
    sites = {f"blocks.{i}:block": Storage.B4 for i in range(2)}
    step = training_step(model, x, y, StoragePolicy(sites, chunk_samples=chunk), "bf16")
    timing = timed(step, x.device, reference)
    before = own_use().launches
    step()
    counts.append([timing.launches, own_use().launches - before, timing.host_s / reference.host_s])
made = profile(model, 32, 4, "bf16", refine_s=1.0, sensitivity_s=10.0, has_baselines=False)
uniform = Plan.uniform(made, 4, 16, recompute=True)
print(json.dumps({"counts": counts, "profile": made.to_json(), "plan": uniform.to_json()}))
"""


def test_a_sample_more_takes_the_slope_of_two_batches_and_never_less_than_nothing() -> None:
    small, large = Timing(0.01, 0.002, 1), Timing(0.01, 0.005, 1)
    assert per_sample_s((small, large), (1, 4)) == pytest.approx(0.001)
    assert per_sample_s((large, small), (1, 4)) == 0.0
    assert per_sample_s((Timing(0.01, 0.0, 1), large), (2, 4)) == pytest.approx(0.005 / 4)
    assert per_sample_s((large, large), (1, 1)) == pytest.approx(0.005)


@pytest.mark.fakegpu
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_launches_and_the_hosts_time_of_chunks_are_measured(fake_devices: Callable[..., FakeDevices]) -> None:
    outcome = fake_devices().python(TIMES, timeout_s=840)
    assert outcome.returncode == 0, outcome.stderr
    for counted, launched, times_exact in outcome.document["counts"]:
        assert 0.85 * launched < counted <= 1.05 * launched
        assert times_exact > 1
    profile, plan = outcome.document["profile"], outcome.document["plan"]
    assert profile["launches"] > 100
    assert profile["chunk_launches"]["block"] > 50
    assert profile["chunk_ms"]["block"] > 0
    assert profile["step_overhead_ms"] > 0
    block = next(site for site in profile["sites"] if site["op"] == "block")
    coded = next(option for option in block["options"] if option["storage"] == "b3")
    assert coded["launches"] > 0
    assert plan["chunk_samples"] == 4
    assert plan["predicted"]["launches"] > profile["launches"]
    assert plan["predicted"]["is_host_bound"]
