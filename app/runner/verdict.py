"""Whose memory ran out: the job's own reservation, or a neighbour on the same device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s2a_core.device import MemoryAtFailure


def judge(memory: MemoryAtFailure) -> dict[str, Any]:
    """The verdict as JSON: fault `memory` (its own; excess_bytes says by how much it passed its cap) or `neighbour`."""
    wanted = memory.held_bytes + memory.asked_bytes
    excess = wanted - memory.budget_bytes
    is_neighbour = excess <= 0 and memory.is_device_full
    return {
        "fault": "neighbour" if is_neighbour else "memory",
        "code": "out_of_memory",
        "used_bytes": memory.held_bytes,
        "asked_bytes": memory.asked_bytes,
        "cap_bytes": memory.budget_bytes,
        "free_bytes": memory.free_bytes,
        "excess_bytes": max(0, excess),
        "users": {str(pid): used for pid, used in memory.users.items()},
    }
