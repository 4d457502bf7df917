"""Out of memory: above its own cap it is the job's plan, below it with a full device it is a neighbour."""

from __future__ import annotations

import pytest

from app.runner.verdict import judge
from s2a_core.device import MemoryAtFailure


@pytest.mark.parametrize(
    ("used", "asked", "cap", "free", "fault", "excess"),
    [
        (90, 20, 100, 500, "memory", 10),  # over its own cap, the device has room
        (90, 20, 100, 5, "memory", 10),  # over its own cap, whatever the device has
        (50, 20, 100, 5, "neighbour", 0),  # inside its cap, and the device is full
        (50, 0, 100, 0, "neighbour", 0),  # a full device, and an error that names no size, as a context's
        (50, 20, 100, None, "memory", 0),  # a CPU: nobody else is bound to a budget
        (50, 20, 100, 500, "memory", 0),  # inside both: fragmentation is its own
    ],
)
def test_the_fault_follows_from_cap_and_device(
    used: int, asked: int, cap: int, free: int | None, fault: str, excess: int
) -> None:
    verdict = judge(MemoryAtFailure(used, asked, cap, free, users={7: 300}))
    assert (verdict["fault"], verdict["excess_bytes"], verdict["users"]) == (fault, excess, {"7": 300})
