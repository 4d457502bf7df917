"""The devices table from what executors measure: capacity, what others hold, and devices back from quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from sqlalchemy.orm import Session

from app.executors.base import DeviceReading
from app.models import Attempt, Device, DeviceState
from app.settings import Settings
from app.store import owned, queue

CUDA = "cuda"
# Of a GPU until a process on it has measured its own; published figures are 256 to 616 MiB.
CONTEXT_BYTES = 512 * 2**20
SLACK_BYTES = 64 * 2**20  # a driver's own allocations move by this much


def refresh(
    session: Session,
    readings: Sequence[DeviceReading],
    lives: Iterable[Attempt],
    settings: Settings,
    now: float,
    planned: Mapping[str, int] = MappingProxyType({}),
) -> list[Device]:
    """Write down what was measured; every known device comes back. planned: device id -> bytes reserved by planning,
    whose processes are no strangers.

    A device that is no longer reported is gone; one that is reported again is what it was. One in quarantine for memory
    that did not come back is ready once it has.
    """
    known = {(device.worker, device.name): device for device in queue.devices(session)}
    held: dict[str, list[Attempt]] = {}
    for attempt in lives:
        held.setdefault(attempt.device_id or "", []).append(attempt)
    seen = set()
    for reading in readings:
        key = (reading.worker, reading.name)
        seen.add(key)
        device = known.get(key)
        if device is None:
            device = owned.add(session, _new(reading, now))
            known[key] = device
        _measure(device, reading, held.get(device.id, []), settings, now, planned.get(device.id, 0))
    for key, device in known.items():
        if key not in seen and device.state != DeviceState.GONE:
            reason = {"quarantine": device.reason} if device.state == DeviceState.QUARANTINED else {}
            device.state = DeviceState.GONE
            device.reason = {"code": "gone", "message": "its worker does not report it any more", "details": reason}
    return [known[key] for key in sorted(known)]


def _new(reading: DeviceReading, now: float) -> Device:
    return Device(
        worker=reading.worker,
        kind=reading.kind,
        name=reading.name,
        capacity_bytes=reading.capacity_bytes,
        baseline_bytes=reading.unclaimed_bytes,
        seen_at=now,
        state=DeviceState.READY,
    )


def _measure(
    device: Device, reading: DeviceReading, lives: Sequence[Attempt], settings: Settings, now: float, planned: int
) -> None:
    others = max(0, others_bytes(reading, lives) - planned)
    changed = {
        "capacity_bytes": reading.capacity_bytes,
        "reserve_bytes": settings.cuda_reserve_bytes if reading.kind == CUDA else 0,
        "context_bytes": _context_bytes(device, reading, lives),
        "baseline_bytes": min(device.baseline_bytes, others),
        "used_by_others_bytes": max(0, others - device.baseline_bytes),
    }
    for name, value in changed.items():
        if getattr(device, name) != value:
            setattr(device, name, value)
    if now - device.seen_at > 5.0 or device.state == DeviceState.GONE:
        device.seen_at = now
    if device.state == DeviceState.GONE:
        quarantine = ((device.reason or {}).get("details") or {}).get("quarantine")
        device.state, device.reason = DeviceState.QUARANTINED if quarantine else DeviceState.READY, quarantine
    if device.state == DeviceState.QUARANTINED and _returned(device, reading):
        device.state, device.reason = DeviceState.READY, None


def _context_bytes(device: Device, reading: DeviceReading, lives: Sequence[Attempt]) -> int:
    """What processes on it have measured; 0 of a CPU."""
    if reading.kind != CUDA:
        return 0
    measured = max((int(_use(attempt).get("context_bytes") or 0) for attempt in lives), default=0)
    return measured or reading.context_bytes or device.context_bytes or CONTEXT_BYTES


def _use(attempt: Attempt) -> Mapping[str, int]:
    """What the attempt's process says that it holds of its device."""
    use: Mapping[str, int] = (attempt.handle or {}).get("use") or {}
    return use


def _returned(device: Device, reading: DeviceReading) -> bool:
    """Whether the memory for which a device is in quarantine is free again."""
    reason = device.reason or {}
    if reason.get("code") != "memory_not_returned":
        return False
    pid = (reason.get("details") or {}).get("pid")
    is_held = pid is not None and int(pid) in reading.used_by_pid
    return not is_held and reading.unclaimed_bytes <= device.baseline_bytes + SLACK_BYTES


def others_bytes(reading: DeviceReading, lives: Iterable[Attempt]) -> int:
    """Used bytes that are not our attempts'.

    Each attempt has what the driver counts for its process; where that hides it (a container without the host's process
    ids, WSL), what the process says itself; before its first word its reservation.
    """
    ours = 0
    for attempt in lives:
        pid = (attempt.handle or {}).get("pid")
        by_pid: Mapping[int, int] = reading.used_by_pid
        held = by_pid.get(int(pid or -1), 0) or _use(attempt).get("held_bytes")
        ours += attempt.reserved_bytes if held is None else held
    return max(0, reading.used_bytes - ours)
