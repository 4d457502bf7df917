"""What memory this machine's devices have and who uses it: NVML for GPUs, a declared capacity for the CPU."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from app.executors.base import DeviceReading

CPU = "cpu"


def read_devices(worker: str, cpu_capacity_bytes: int, visible: Sequence[str] | None = None) -> list[DeviceReading]:
    """The CPU with its declared capacity, then each GPU, or each slice of one in MIG mode, that NVML sees.

    visible: entries of CUDA_VISIBLE_DEVICES, numbers as nvidia-smi counts; every GPU if None.
    """
    return [DeviceReading(worker, CPU, CPU, cpu_capacity_bytes), *_gpus(worker, visible)]


def visible_devices(device: str | None) -> dict[str, str]:
    """The environment that shows a process its device only. device: `worker/name` or name; every device if None."""
    if device is None:
        return {}
    kind, _, number = device.rpartition("/")[2].partition(":")
    return {"CUDA_VISIBLE_DEVICES": number if kind == "cuda" else "", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@functools.cache
def _nvml() -> Any:
    """NVML, initialised once: doing so for every look takes tens of milliseconds of a driver lock."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml


def driver_version() -> str | None:
    """The NVIDIA driver's version; None where NVML does not answer."""
    try:
        return str(_nvml().nvmlSystemGetDriverVersion())
    except Exception:  # as in _gpus: no driver, no NVML
        return None


def _gpus(worker: str, visible: Sequence[str] | None) -> list[DeviceReading]:
    try:
        nvml = _nvml()
    except Exception:  # no driver, no NVML: this machine has no GPU to offer
        return []
    readings = []
    try:
        for name, device in _offered(nvml, visible):
            try:
                readings.append(_gpu(nvml, worker, name, device))
            except nvml.NVMLError:  # fell off the bus: it is gone, the others are not
                _nvml.cache_clear()
    except nvml.NVMLError:  # the driver was loaded anew: the next look begins again
        _nvml.cache_clear()
        raise
    return readings


def _offered(nvml: Any, visible: Sequence[str] | None) -> Iterator[tuple[str, Any]]:
    """(name, handle) of what attempts may get: `cuda:NUMBER`, or `cuda:MIG-UUID` of a slice."""
    # CUDA reads its list up to the first entry that names nothing, such as -1.
    wanted = None if visible is None else list(itertools.takewhile(_names_device, visible))
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpu = nvml.nvmlDeviceGetHandleByIndex(index)
            slices = list(_slices(nvml, gpu))
            for name, device in slices or [(f"cuda:{index}", gpu)]:
                uuids = () if wanted is None else (_uuid(nvml, device), _uuid(nvml, gpu))
                if wanted is None or str(index) in wanted or _is_named(uuids, wanted):
                    yield name, device
        except nvml.NVMLError:
            _nvml.cache_clear()


def _names_device(entry: str) -> bool:
    return entry.isdigit() or entry.startswith(("GPU-", "MIG-"))


def _is_named(uuids: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether an entry is the beginning of a UUID, as CUDA takes it."""
    return any(uuid.startswith(entry) for uuid in uuids for entry in wanted if not entry.isdigit())


def _slices(nvml: Any, gpu: Any) -> Iterator[tuple[str, Any]]:
    """The slices of a GPU in MIG mode, none otherwise."""
    try:
        is_split = nvml.nvmlDeviceGetMigMode(gpu)[0] == nvml.NVML_DEVICE_MIG_ENABLE
        places = range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)) if is_split else range(0)
    except (AttributeError, nvml.NVMLError):  # a driver or a GPU that knows no slices
        return
    for place in places:
        with contextlib.suppress(nvml.NVMLError):  # no slice at this place
            device = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, place)
            yield f"cuda:{_uuid(nvml, device)}", device


def _uuid(nvml: Any, device: Any) -> str:
    uuid = nvml.nvmlDeviceGetUUID(device)
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)


def _gpu(nvml: Any, worker: str, name: str, device: Any) -> DeviceReading:
    memory = nvml.nvmlDeviceGetMemoryInfo(device)
    users: dict[int, int] = {}
    with contextlib.suppress(nvml.NVMLError):
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(device):
            users[int(process.pid)] = int(process.usedGpuMemory or 0)
    return DeviceReading(worker, "cuda", name, int(memory.total), used_bytes=int(memory.used), used_by_pid=users)
