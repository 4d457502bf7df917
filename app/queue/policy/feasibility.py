"""Whether any device could ever hold a job, however long it waits."""

from __future__ import annotations

from collections.abc import Sequence

from app.queue.policy.facts import Device, Waiting


def largest_for(job: Waiting, devices: Sequence[Device]) -> int:
    """Capacity of the largest device of the wanted kind, ready or not; 0 when there is none."""
    return max((device.capacity_bytes for device in devices if job.accepts(device)), default=0)


def could_ever_run(job: Waiting, devices: Sequence[Device]) -> bool:
    """Whether an empty device would hold the job. What foreign processes hold today is not counted: it may go."""
    return any(job.accepts(device) and job.need_on(device) <= device.capacity_bytes for device in devices)
