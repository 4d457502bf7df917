"""What this process holds of its device: capped to its reservation, and to its plan's once that is verified."""

from __future__ import annotations

from typing import Any

from app.queue.policy.facts import reservation_of
from app.runner.link import Link

DEVICE = "cuda"  # the only one that the executor shows to this process


def limit_device(num_bytes: int) -> bool:
    """Cap this process on its GPU, so that it fails alone instead of taking a neighbour's memory; True on a CPU.

    num_bytes: of everything it holds there, context and code included. False, and no new cap, where it holds more
    already. Raises InfeasibleBudget below context and workspaces, OutOfMemory where not even a context fits.
    """
    import torch

    if num_bytes <= 0 or not torch.cuda.is_available():
        return True
    from s2a_core.device import device_memory, open_device, release_cached

    memory = device_memory(DEVICE)
    if memory is None:
        memory = open_device(DEVICE, num_bytes)
    else:
        release_cached(DEVICE)
        if memory.held_bytes() > num_bytes:
            return False
    if memory is not None:
        memory.hold_to(num_bytes)
    return True


def device_use() -> dict[str, Any] | None:
    """What this process holds of its GPU, for the service where the driver hides it; None on a CPU."""
    from s2a_core.device import device_memory

    memory = device_memory(DEVICE)
    if memory is None:
        return None
    held = memory.held_bytes()
    return {"held_bytes": held, "context_bytes": memory.context_bytes, "is_listed": memory.is_listed}


def give_back(link: Link, plan: dict[str, Any]) -> None:
    """Cap this process to what its verified plan takes, then tell the service, which lends the rest to waiting jobs."""
    peak_bytes = int(plan["predicted"]["peak_bytes"])
    wanted = reservation_of(peak_bytes + _beside(plan) + link.missed_bytes, link.reserved_bytes)
    if limit_device(wanted) and wanted < link.reserved_bytes:
        link.reserved_bytes = wanted
        link.say({"type": "reservation", "reserved_bytes": wanted, "planned_peak_bytes": peak_bytes})


def _beside(plan: dict[str, Any]) -> int:
    """Device bytes that the plan's peak does not count: code that is still to be loaded; the context, if left out."""
    import torch

    if not torch.cuda.is_available():
        return 0
    from s2a_core.device import device_memory
    from s2a_core.device.memory import CODE_BYTES

    memory = device_memory(DEVICE)
    has_context = "context" in (plan["predicted"].get("breakdown") or {})
    return CODE_BYTES + (0 if memory is None or has_context else memory.outside_bytes())
