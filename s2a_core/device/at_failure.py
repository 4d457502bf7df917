"""What was known of a device at the moment an allocation failed: the numbers that a verdict is taken from."""

from __future__ import annotations

import os

import torch

from s2a_core.device import nvml
from s2a_core.device.failures import MemoryAtFailure, asked_bytes
from s2a_core.device.memory import device_memory


def memory_at_failure(error: BaseException, device: torch.device | str) -> MemoryAtFailure:
    """What is known where an allocation just failed. Call it before any cache is emptied, and before frames go.

    An OutOfMemory of s2a carries the numbers of that moment in its details; they are taken from there.
    """
    details = getattr(error, "details", {})
    carried = details.get("memory", details)
    if "held_bytes" in carried:
        return MemoryAtFailure.from_json(carried)
    asked, memory = asked_bytes(str(error)), device_memory(device)
    if memory is None:
        return MemoryAtFailure(0, asked, 0, None)
    users = {pid: size for pid, size in nvml.bytes_by_process(memory.uuid).items() if pid != os.getpid()}
    used = nvml.used_bytes(memory.uuid)
    free = None if used is None else memory.total_bytes - used
    return MemoryAtFailure(memory.held_bytes(), asked, memory.budget_bytes, free, memory.total_bytes, users)
