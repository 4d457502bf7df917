"""Launches that go straight to a compiled kernel are the ones that Triton would make itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import triton
import triton.language as tl

from s2a_core.kernels.launches import Launches
from s2a_core.kernels.triton_kernels.launch import launch
from tests.fakegpu.double import FakeDevices

DIRECT = """
import json, torch
from s2a_core import kernels
from s2a_core.kernels.launches import Launches
from s2a_core.kernels.triton_kernels import launch as module
from triton.runtime.jit import JITFunction

calls = []
ordinary = JITFunction.run
JITFunction.run = lambda self, *args, **kwargs: (calls.append(self.fn.__name__), ordinary(self, *args, **kwargs))[1]
x = torch.randn(2, 40, 64, device="cuda")

def counted(tensor, bits=4):
    before = len(calls), Launches.count
    payload = kernels.quantize_channels(tensor, bits)
    kernels.dequantize_channels(payload, tuple(tensor.shape), bits, tensor.dtype)
    return [len(calls) - before[0], Launches.count - before[1]]

counts = {"first": counted(x), "again": counted(x), "other values": counted(torch.randn_like(x))}
counts["another width"] = counted(x, 2)
counts["another dtype"] = counted(x.bfloat16())
counts["another shape"] = counted(x[:, :39].contiguous())
shifted = torch.empty(x.numel() + 1, device="cuda")[1:].view(x.shape)
counts["not a multiple of 16 bytes"] = counted(shifted)
counts["known, all of them"] = counted(shifted)
module._Direct.known = dict.fromkeys(range(module.MOST_KNOWN))
counts["forgotten"] = counted(x)
size = len(module._Direct.known)
module._Direct.known = {}
JITFunction.run = lambda self, *args, **kwargs: (calls.append(0), ordinary(self, *args, **kwargs), None)[2]
counts["a Triton that returns no kernel"] = counted(x)
counts["and again"] = counted(x)
print(json.dumps([counts, size, module._Direct.is_possible]))
"""


@triton.jit
def _double_kernel(x, y, numel, BLOCK: tl.constexpr):
    index = tl.arange(0, BLOCK)
    tl.store(y + index, 2 * tl.load(x + index, mask=index < numel, other=0.0), mask=index < numel)


def test_under_the_interpreter_a_launch_is_an_ordinary_one_and_counted(
    device: torch.device,
) -> None:
    x, y, before = torch.randn(5, device=device), torch.zeros(5, device=device), Launches.count
    launch(_double_kernel, (1,), (x, y), 5, 8, num_warps=1)
    assert torch.equal(y, 2 * x)
    assert Launches.count == before + 1


@pytest.mark.fakegpu
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_triton_sees_a_launch_once_for_each_kernel_it_would_compile(fake_devices: Callable[..., FakeDevices]) -> None:
    outcome = fake_devices().python(DIRECT, timeout_s=600)
    assert outcome.returncode == 0, outcome.stderr
    counts, size, is_direct = outcome.document
    num = counts["first"][1]
    assert counts["first"] == [num, num]
    for label in ("again", "other values", "known, all of them"):
        assert counts[label] == [0, num], label
    for label in ("another width", "another dtype", "another shape", "not a multiple of 16 bytes", "forgotten"):
        assert counts[label][0] >= 2, label
        assert counts[label][1] == num, label
    assert size == num
    assert not is_direct
    assert counts["a Triton that returns no kernel"] == counts["and again"] == [num, num]
