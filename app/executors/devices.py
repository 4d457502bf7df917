"""What memory this machine's devices have and who uses it: NVML for GPUs, a declared capacity for the CPU."""

from __future__ import annotations

import contextlib
from typing import Any

from app.executors.base import DeviceReading

CPU = "cpu"


def read_devices(worker: str, cpu_capacity_bytes: int) -> list[DeviceReading]:
    """The CPU with its declared capacity, then each GPU that NVML sees."""
    return [DeviceReading(worker, CPU, CPU, cpu_capacity_bytes), *_gpus(worker)]


def visible_devices(device: str | None) -> dict[str, str]:
    """The environment that shows a process its device only. device: `worker/name` or name; every device if None."""
    if device is None:
        return {}
    kind, _, number = device.rpartition("/")[2].partition(":")
    return {"CUDA_VISIBLE_DEVICES": number if kind == "cuda" else "", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def _gpus(worker: str) -> list[DeviceReading]:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no driver, no NVML: this machine has no GPU to offer
        return []
    try:
        return [_gpu(pynvml, worker, i) for i in range(pynvml.nvmlDeviceGetCount())]
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _gpu(nvml: Any, worker: str, index: int) -> DeviceReading:
    device = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(device)
    users: dict[int, int] = {}
    with contextlib.suppress(nvml.NVMLError):
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(device):
            users[int(process.pid)] = int(process.usedGpuMemory or 0)
    return DeviceReading(
        worker, "cuda", f"cuda:{index}", int(memory.total), used_bytes=int(memory.used), used_by_pid=users
    )
