"""Out of memory: above its own cap it is the job's plan, below it with a full device it is a neighbour."""

from __future__ import annotations

import pytest

from app.runner.verdict import MemoryAtFailure, asked_bytes, judge, memory_now

MIB = 2**20


@pytest.mark.parametrize(
    ("used", "asked", "cap", "free", "fault", "excess"),
    [
        (90, 20, 100, 500, "memory", 10),  # over its own cap, the device has room
        (90, 20, 100, 5, "memory", 10),  # over its own cap, whatever the device has
        (50, 20, 100, 5, "neighbour", 0),  # inside its cap, and the device is full
        (50, 20, 100, None, "memory", 0),  # a CPU: nobody else is bound to a budget
        (50, 20, 100, 500, "memory", 0),  # inside both: fragmentation is its own
    ],
)
def test_the_fault_follows_from_cap_and_device(
    used: int, asked: int, cap: int, free: int | None, fault: str, excess: int
) -> None:
    verdict = judge(MemoryAtFailure(used, asked, cap, free, {7: 300}))
    assert (verdict["fault"], verdict["excess_bytes"], verdict["users"]) == (fault, excess, {"7": 300})


def test_the_size_is_read_from_pytorchs_message() -> None:
    assert asked_bytes("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has") == 20 * MIB
    assert asked_bytes("Tried to allocate 1.50 GiB") == 1536 * MIB
    assert asked_bytes("no size") == 0


def test_without_a_gpu_the_device_has_no_free_bytes_to_speak_of() -> None:
    memory = memory_now(100 * MIB, "allocate 2 bytes")
    assert (memory.asked_bytes, memory.cap_bytes) == (2, 100 * MIB)
