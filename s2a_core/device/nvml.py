"""NVML by ctypes: what processes hold of a device, asked without making a context. None where NVML does not say.

Not nvidia-ml-py, which a machine may lack that has the driver, and with it libnvidia-ml.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

_INSUFFICIENT_SIZE = 7
_NOT_AVAILABLE = 2**64 - 1  # a process's bytes where the driver cannot tell them


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


@functools.cache
def _library() -> Any:
    """libnvidia-ml, initialised once in a process; None where there is none."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return library if library.nvmlInit_v2() == 0 else None


def _handle(uuid: str) -> ctypes.c_void_p | None:
    library = _library()
    handle = ctypes.c_void_p()
    for prefix in ("GPU", "MIG"):
        name = f"{prefix}-{uuid}".encode()
        if library is not None and library.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)) == 0:
            return handle
    return None


def used_bytes(uuid: str) -> int | None:
    """Bytes in use on the device with this UUID, by anybody."""
    handle, memory = _handle(uuid), _Memory()
    if handle is None or _library().nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
        return None
    return int(memory.used)


def bytes_by_process(uuid: str) -> dict[int, int]:
    """pid -> bytes on the device; empty where NVML hides processes, as in a container without the host's pids."""
    handle, count = _handle(uuid), ctypes.c_uint(0)
    if handle is None:
        return {}
    ask = _library().nvmlDeviceGetComputeRunningProcesses_v3
    while True:
        processes = (_Process * count.value)()
        status = ask(handle, ctypes.byref(count), processes if count.value else None)
        if status != _INSUFFICIENT_SIZE:
            break
        count.value += 8  # others may come between two calls
    if status:
        return {}
    listed = list(processes)[: count.value]
    return {int(process.pid): int(process.used) for process in listed if process.used != _NOT_AVAILABLE}
