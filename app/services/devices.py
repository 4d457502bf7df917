"""Devices with the jobs on them, and the queue as everybody may see it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.errors import existing
from app.models import Attempt, Device, Job
from app.queue.planning import planning_bytes
from app.services.keys import Caller
from app.store import devices
from app.store.database import Database


def document(
    device: Device, held: list[tuple[Attempt, Job]], caller: Caller, planned: Mapping[str, int]
) -> dict[str, Any]:
    """A device as the API shows it. Another team's jobs are shown by their bytes only. planned: by planning."""
    reserved = sum(attempt.reserved_bytes for attempt, _ in held) + planned.get(device.id, 0)
    return {
        "id": device.id,
        "worker": device.worker,
        "kind": device.kind,
        "name": device.name,
        "state": device.state,
        "reason": device.reason,
        "capacity_bytes": device.capacity_bytes,
        "reserve_bytes": device.reserve_bytes,
        "context_bytes": device.context_bytes,
        "baseline_bytes": device.baseline_bytes,
        "used_by_others_bytes": device.used_by_others_bytes,
        "reserved_bytes": reserved,
        "free_bytes": device.free_bytes(reserved),
        "seen_at": device.seen_at,
        "jobs": [_held(attempt, job, caller) for attempt, job in held],
    }


def _documents(
    session: Session, shown: Sequence[Device], held: Sequence[tuple[Attempt, Job]], caller: Caller
) -> list[dict[str, Any]]:
    """Each of these devices with those of the live attempts that are on it."""
    planned = planning_bytes(session, time.time())
    return [
        document(device, [pair for pair in held if pair[0].device_id == device.id], caller, planned) for device in shown
    ]


def _held(attempt: Attempt, job: Job, caller: Caller) -> dict[str, Any]:
    is_seen = caller.visible_team in (None, job.team_id)
    return {
        "job_id": job.id if is_seen else None,
        "name": job.name if is_seen else None,
        "status": job.status if is_seen else None,
        "model": job.request.get("model") if is_seen else None,
        "attempt": attempt.epoch if is_seen else None,
        "reserved_bytes": attempt.reserved_bytes,
    }


def waiting(job: Job, place: int, caller: Caller) -> dict[str, Any]:
    """A waiting job; of another team's only its place and its size are shown."""
    is_seen = caller.visible_team in (None, job.team_id)
    return {
        "position": job.position or place,
        "job_id": job.id if is_seen else None,
        "name": job.name if is_seen else None,
        "model": job.request.get("model") if is_seen else None,
        "priority": job.priority,
        "device": job.device,
        "needs_bytes": job.planned_peak_bytes or job.budget_bytes,
        "reason": job.reason if is_seen else None,
        "eta_at": job.eta_at,
        "created_at": job.created_at,
    }


class DeviceService:
    """What runs where, and what waits."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def listed(self, caller: Caller, limit: int, after: str | None) -> dict[str, Any]:
        """A page of devices."""
        with self.database.reading() as session:
            rows, following = devices.listed(session, limit, after)
            held = devices.live(session, [device.id for device in rows])
            return {"items": _documents(session, rows, held, caller), "next": following}

    def get(self, caller: Caller, device_id: str) -> dict[str, Any]:
        """One device."""
        with self.database.reading() as session:
            device = existing(devices.find(session, device_id), f"device {device_id}")
            return _documents(session, [device], devices.live(session, [device_id]), caller)[0]

    def queue(self, caller: Caller, limit: int) -> dict[str, Any]:
        """Every device with its jobs, the waiting jobs in order, and how many of the caller's jobs have each status."""
        with self.database.reading() as session:
            rows, _ = devices.listed(session, 200, None)
            held = devices.live(session, [device.id for device in rows])
            queue = devices.queue(session, limit)
            return {
                "devices": _documents(session, rows, held, caller),
                "elsewhere": [_held(attempt, job, caller) for attempt, job in held if attempt.device_id is None],
                "waiting": [waiting(job, place, caller) for place, job in enumerate(queue, 1)],
                "statuses": devices.statuses(session, caller.visible_team),
            }
