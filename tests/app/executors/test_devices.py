"""A machine offers its declared memory and what NVML counts; a process sees the device it was given."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from app.executors.devices import read_devices, visible_devices

GIB = 2**30


def test_without_nvml_there_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (cpu,) = read_devices("w", 5 * GIB)
    assert (cpu.worker, cpu.name, cpu.capacity_bytes, cpu.used_bytes) == ("w", "cpu", 5 * GIB, 0)


def test_each_gpu_is_read_with_who_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml: Any = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda index: SimpleNamespace(total=(index + 1) * GIB, used=10),
        nvmlDeviceGetComputeRunningProcesses=lambda index: [SimpleNamespace(pid=7, usedGpuMemory=None)],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    found = read_devices("w", GIB)
    assert [d.name for d in found] == ["cpu", "cuda:0", "cuda:1"]
    assert (found[2].capacity_bytes, found[2].used_bytes, found[2].used_by_pid) == (2 * GIB, 10, {7: 0})


@pytest.mark.parametrize(
    ("device", "visible"), [(None, None), ("w/cpu", ""), ("cpu", ""), ("w/cuda:0", "0"), ("cuda:12", "12")]
)
def test_a_process_sees_its_device(device: str | None, visible: str | None) -> None:
    assert visible_devices(device).get("CUDA_VISIBLE_DEVICES") == visible
