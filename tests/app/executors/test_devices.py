"""A machine offers its declared memory and what NVML counts; a process sees the device it was given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from app.executors.devices import _nvml, read_devices, visible_devices

GIB = 2**30


class PretendNvml:
    """Two GPUs; the second may be split into slices, and may fall off the bus."""

    NVMLError = RuntimeError
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self, is_split: bool = False) -> None:
        self.is_split, self.is_lost, self.num_inits = is_split, False, 0

    def nvmlInit(self) -> None:
        self.num_inits += 1

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"GPU-{index}a"

    def nvmlDeviceGetUUID(self, device: str) -> str:
        return device

    def nvmlDeviceGetMigMode(self, device: str) -> tuple[int, int]:
        return (int(self.is_split and device == "GPU-1a"),) * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, device: str) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: str, place: int) -> str:
        if place > 1:
            raise RuntimeError("not found")
        return f"MIG-{place}b"

    def nvmlDeviceGetMemoryInfo(self, device: str) -> Any:
        if self.is_lost and device == "GPU-1a":
            raise RuntimeError("GPU is lost")
        return SimpleNamespace(total=GIB if device.startswith("GPU-0") else 2 * GIB, used=10)

    def nvmlDeviceGetComputeRunningProcesses(self, device: str) -> list[Any]:
        return [SimpleNamespace(pid=7, usedGpuMemory=None)]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendNvml]:
    made = PretendNvml()
    monkeypatch.setitem(sys.modules, "pynvml", made)  # type: ignore[arg-type]
    _nvml.cache_clear()
    yield made
    _nvml.cache_clear()


def test_without_nvml_there_is_the_cpu(nvml: PretendNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (cpu,) = read_devices("w", 5 * GIB)
    assert (cpu.worker, cpu.name, cpu.capacity_bytes, cpu.used_bytes) == ("w", "cpu", 5 * GIB, 0)


def test_each_gpu_is_read_with_who_uses_it_and_nvml_begins_once(nvml: PretendNvml) -> None:
    found = [read_devices("w", GIB) for _ in range(3)][-1]
    assert [d.name for d in found] == ["cpu", "cuda:0", "cuda:1"]
    assert (found[2].capacity_bytes, found[2].used_bytes, found[2].used_by_pid) == (2 * GIB, 10, {7: 0})
    assert nvml.num_inits == 1


def test_a_gpu_that_fell_off_the_bus_is_gone_and_the_other_is_not(nvml: PretendNvml) -> None:
    nvml.is_lost = True
    assert [d.name for d in read_devices("w", GIB)] == ["cpu", "cuda:0"]
    nvml.is_lost = False
    assert len(read_devices("w", GIB)) == 3
    assert nvml.num_inits == 2


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["cuda:0", "cuda:1"]),
        (["1"], ["cuda:1"]),
        (["GPU-1"], ["cuda:1"]),
        (["0", "-1", "1"], ["cuda:0"]),
        ([""], []),
    ],
)
def test_a_service_offers_the_gpus_that_it_may_see(
    nvml: PretendNvml, visible: list[str] | None, names: list[str]
) -> None:
    assert [d.name for d in read_devices("w", GIB, visible)[1:]] == names


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        (None, ["cuda:0", "cuda:MIG-0b", "cuda:MIG-1b"]),
        (["MIG-1b"], ["cuda:MIG-1b"]),
        (["1"], ["cuda:MIG-0b", "cuda:MIG-1b"]),
    ],
)
def test_slices_of_a_gpu_are_devices_of_their_own(
    nvml: PretendNvml, visible: list[str] | None, names: list[str]
) -> None:
    nvml.is_split = True
    assert [d.name for d in read_devices("w", GIB, visible)[1:]] == names


@pytest.mark.parametrize(
    ("device", "visible"),
    [(None, None), ("w/cpu", ""), ("cpu", ""), ("w/cuda:0", "0"), ("cuda:12", "12"), ("w/cuda:MIG-0b", "MIG-0b")],
)
def test_a_process_sees_its_device(device: str | None, visible: str | None) -> None:
    assert visible_devices(device).get("CUDA_VISIBLE_DEVICES") == visible
