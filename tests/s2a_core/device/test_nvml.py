"""What NVML says of a device, without a context on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from s2a_core.device import nvml
from tests.fakegpu.double import FakeDevices

LISTS = """
import json, os, sys
from s2a_core.device import nvml
uuid = "01000000-0000-0000-0000-000000000000"
before = nvml.used_bytes(uuid), nvml.bytes_by_process(uuid)
import torch
torch.ones(1, device="cuda")
print(json.dumps([before, nvml.used_bytes(uuid), nvml.bytes_by_process(uuid).get(os.getpid()), nvml.used_bytes("x")]))
"""


def test_a_device_that_nvml_does_not_know_has_no_numbers() -> None:
    assert nvml.used_bytes("00000000-0000-0000-0000-0000000000ff") is None
    assert nvml.bytes_by_process("00000000-0000-0000-0000-0000000000ff") == {}


@pytest.mark.fakegpu
@pytest.mark.slow
def test_a_process_is_listed_with_its_bytes(fake_devices: Callable[..., FakeDevices]) -> None:
    before, used, own, unknown = fake_devices().python(LISTS).document
    assert before == [0, {}]
    assert used == own == (426 + 2) * 2**20 + 64 * 1024
    assert unknown is None
