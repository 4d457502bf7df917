"""CUDA tensors, on devices without silicon: where kernels are launched, and what runs without Triton."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakegpu.double import FakeDevices

pytestmark = [pytest.mark.fakegpu, pytest.mark.slow, pytest.mark.timeout(600)]
Devices = Callable[..., FakeDevices]

EVERY_KERNEL = """
import json, sys, warnings
import torch
from s2a_core import kernels
from s2a_core.operators import CURVES

def run(device):
    x = torch.ones(2, 40, 16, device=device)
    maps = torch.ones(2, 4, 8, 8, device=device)
    weight = torch.ones(16, device=device)
    table = kernels.fit_table(CURVES["gelu"], 4)
    codes = torch.ones(64, dtype=torch.uint8, device=device)
    kernels.unpack(kernels.pack(codes, 3), 3, 64)
    kernels.dequantize_channels(kernels.quantize_channels(x, 4), (2, 40, 16), 4, torch.float32)
    kernels.normalize(x, 1e-6)
    y, payload, rstd = kernels.norm_fwd(x, weight, weight, 1e-6, 4, 40)
    kernels.norm_bwd(y, payload, rstd, weight, (2, 40, 16), 4, needs_weight_grad=True)
    kernels.act_bwd(x, kernels.act_fwd(x, CURVES["gelu"], table)[1], table)
    kernels.mask_bwd(x, kernels.mask_fwd(x, "relu6")[1], "relu6")
    kernels.mask_fwd(x, "relu")
    y, payload = kernels.maxpool2d_fwd(maps, 3, 2, 1)
    kernels.maxpool2d_bwd(y, payload, (2, 4, 8, 8), 3, 2, 1)
    kernels.dropout_bwd(x, kernels.dropout_fwd(x, 0.5)[1], 0.5)
"""


def test_kernels_are_launched_on_the_device_of_their_tensors(fake_devices: Devices) -> None:
    code = f"""{EVERY_KERNEL}
from tests.fakegpu.double import own_use
torch.ones(1, device="cuda:0")
before = own_use(0).launches
run("cuda:1")
assert kernels.backend_name("cuda") == "triton"
print(json.dumps([torch.cuda.current_device(), own_use(0).launches - before, own_use(1).launches]))
"""
    outcome = fake_devices(num_devices=2).python(code)
    assert outcome.returncode == 0, outcome.stderr
    current, on_the_first, on_the_second = outcome.document
    assert (current, on_the_first) == (0, 0)
    assert on_the_second > 12


def test_without_triton_the_reference_runs_and_warns_once(fake_devices: Devices) -> None:
    code = f"""
import sys
sys.modules["triton"] = None
{EVERY_KERNEL}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    run("cuda")
    run("cuda")
ours = [str(one.message) for one in caught if "reference kernels" in str(one.message)]
print(json.dumps([ours, kernels.backend_name("cuda"), kernels.why_reference("cuda")]))
"""
    outcome = fake_devices().python(code)
    assert outcome.returncode == 0, outcome.stderr
    warned, name, reason = outcome.document
    assert len(warned) == 1
    assert "CUDA tensors use the reference kernels, which are correct but slower" in warned[0]
    assert name == "reference"
    assert "triton" in reason
    assert outcome.use.launches > 12
