"""Whose memory ran out: the job's own budget, or a neighbour on the same device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MemoryAtFailure:
    """What was known when an allocation failed. cap_bytes: what the process may use; users: bytes by other pids.

    used_bytes: held by this process; asked_bytes: what it asked for; free_bytes: left on the device, None on a CPU.
    """

    used_bytes: int
    asked_bytes: int
    cap_bytes: int
    free_bytes: int | None
    users: Mapping[int, int] = field(default_factory=dict)


def judge(memory: MemoryAtFailure) -> dict[str, Any]:
    """The verdict as JSON: fault `memory` (own budget; excess_bytes says by how much) or `neighbour`."""
    wanted = memory.used_bytes + memory.asked_bytes
    excess = wanted - memory.cap_bytes
    is_neighbour = excess <= 0 and memory.free_bytes is not None and memory.free_bytes < memory.asked_bytes
    return {
        "fault": "neighbour" if is_neighbour else "memory",
        "code": "out_of_memory",
        "used_bytes": memory.used_bytes,
        "asked_bytes": memory.asked_bytes,
        "cap_bytes": memory.cap_bytes,
        "free_bytes": memory.free_bytes,
        "excess_bytes": max(0, excess),
        "users": {str(pid): used for pid, used in memory.users.items()},
    }


def memory_now(cap_bytes: int, message: str = "") -> MemoryAtFailure:
    """What is known of this process' device at this moment; call it where an allocation just failed."""
    import torch

    asked = asked_bytes(message)
    if not torch.cuda.is_available():
        return MemoryAtFailure(cap_bytes, asked, cap_bytes, None)
    free, _ = torch.cuda.mem_get_info()
    return MemoryAtFailure(torch.cuda.memory_reserved(), asked, cap_bytes, int(free), other_users())


def other_users() -> dict[int, int]:
    """Bytes by pid of the other processes on this process' GPU; empty where NVML does not say."""
    import os

    try:
        import pynvml
        import torch

        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
        device = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}".encode())
        found = pynvml.nvmlDeviceGetComputeRunningProcesses(device)
        return {int(p.pid): int(p.usedGpuMemory or 0) for p in found if p.pid != os.getpid()}
    except Exception:  # NVML is a courtesy here: without it the verdict names nobody
        return {}


def asked_bytes(message: str) -> int:
    """The size in PyTorch's out-of-memory message ("Tried to allocate 20.00 MiB"); 0 without one."""
    import re

    found = re.search(r"allocate ([0-9.]+) (bytes|KiB|MiB|GiB)", message)
    units = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return round(float(found.group(1)) * units[found.group(2)]) if found else 0
