"""Why a job waits, in words and numbers: per device what is short and who holds it, its position and its ETA.

The ETA places the waiting jobs in order on the estimated ends of the live ones, each device going forward in time only
(no backfill), so it is a cautious estimate that costs little for a thousand jobs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from app.queue.policy.facts import Device, Preempt, Rules, Team, Wait, Waiting
from app.queue.policy.packing import Packing
from s2a_core.sizes import format_bytes

QUOTAS = ("quota_jobs", "quota_bytes", "quota_byte_seconds")


@dataclass(slots=True)
class Held:
    """A job that does not start in this pass; a message that is empty is written from the devices."""

    job: Waiting
    code: str
    message: str
    details: dict[str, Any]
    starts_at: float | None = None


@dataclass(slots=True)
class _Timeline:
    """A device's memory from `at` on, and when what is held of it comes back."""

    device: Device
    at: float
    free: int
    ends: list[tuple[float, int]] = field(default_factory=list)

    def start_of(self, need: int, runs_s: float) -> float:
        """When `need` bytes are free; the time moves there and they are taken."""
        while self.free < need and self.ends:
            end, num_bytes = heapq.heappop(self.ends)
            self.at = max(self.at, end)
            self.free += num_bytes
        self.free -= need
        heapq.heappush(self.ends, (self.at + runs_s, need))
        return self.at

    def promise(self, need: int) -> float:
        """A quick lower bound on when `need` bytes are free."""
        return self.at if self.free >= need or not self.ends else max(self.at, self.ends[0][0])


def explain(
    held: Sequence[Held],
    packing: Packing,
    teams: Mapping[str, Team],
    preempts: Sequence[Preempt],
    rules: Rules,
) -> dict[str, Wait]:
    """A Wait for every held job, in the order of the queue."""
    timelines = _timelines(packing)
    shown = {
        team: {device_id: _shown(packing, device_id, team, teams, rules) for device_id in packing.devices}
        for team in {entry.job.team_id for entry in held}
    }
    waits: dict[str, Wait] = {}
    position = 0
    for entry in held:
        if entry.code in QUOTAS or entry.code == "no_device":
            at, place = None, None
        else:
            position += 1
            at, place = _eta(entry, timelines), position
        details = partial(_details, entry, packing, shown[entry.job.team_id], len(preempts))
        message = entry.message or _message(entry, packing, details)
        waits[entry.job.job_id] = Wait(entry.code, message, details, place, at)
    return waits


def _details(entry: Held, packing: Packing, shown: Mapping[str, dict[str, Any]], num_stopped: int) -> dict[str, Any]:
    details = {
        **entry.details,
        "needs_bytes": min(entry.job.limit_bytes, entry.job.peak_bytes),
        "devices": _per_device(entry.job, packing, shown),
    }
    return {**details, "num_stopped": num_stopped} if entry.code == "preempting" else details


def _timelines(packing: Packing) -> list[_Timeline]:
    timelines = []
    for device_id, free in packing.free.items():
        line = _Timeline(packing.devices[device_id], packing.now, free)
        line.ends = [(max(packing.now, live.ends_at), live.num_bytes) for live in packing.lives[device_id]]
        heapq.heapify(line.ends)
        timelines.append(line)
    return timelines


def _eta(entry: Held, timelines: Sequence[_Timeline]) -> float | None:
    job = entry.job
    best: tuple[float, int, _Timeline] | None = None
    for index, line in enumerate(timelines):
        need = job.need_on(line.device)
        if need > line.device.capacity_bytes - line.device.others_bytes or not job.accepts(line.device):
            continue
        promise = (line.promise(need), index, line)
        best = promise if best is None or promise[:2] < best[:2] else best
    if best is None:
        return None
    at = best[2].start_of(job.need_on(best[2].device), job.runs_s)
    return entry.starts_at if entry.starts_at is not None else at


def _shown(packing: Packing, device_id: str, team_id: str, teams: Mapping[str, Team], rules: Rules) -> dict[str, Any]:
    """A device as a team may see it: jobs of other teams by their team and bytes only."""
    device = packing.devices[device_id]
    lives = sorted(packing.lives[device_id], key=lambda live: (-live.num_bytes, live.job_id))
    return {
        "device": device_id,
        "name": device.name,
        "capacity_bytes": device.capacity_bytes,
        "free_bytes": max(0, packing.free.get(device_id, 0)),
        "others_bytes": device.others_bytes,
        "state": "ready" if device.is_ready else device.why_not or "not ready",
        "num_holders": len(lives),
        "held_by": [
            {
                "job": live.job_id if live.team_id == team_id else None,
                "team": teams[live.team_id].name if live.team_id in teams else live.team_id,
                "bytes": live.num_bytes,
                "ends_at": round(live.ends_at, 1),
            }
            for live in lives[: rules.holders_shown]
        ],
    }


def _per_device(job: Waiting, packing: Packing, shown: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    documents = []
    for device_id, device in packing.devices.items():
        if job.accepts(device):
            short = job.need_on(device) - max(0, packing.free.get(device_id, 0))
            documents.append({**shown[device_id], "short_bytes": max(0, short)})
    return documents


def _message(entry: Held, packing: Packing, make_details: Callable[[], Mapping[str, Any]]) -> str:
    needs = format_bytes(min(entry.job.limit_bytes, entry.job.peak_bytes))
    if entry.code == "preempting":
        return f"needs {needs}; {make_details()['num_stopped']} jobs of a lower class are being stopped for it"
    if entry.code == "held_for_head":
        return "fits, but would delay a job that comes before it"
    if entry.code == "no_device":
        details = make_details()
        if not details["devices"]:
            return f"no device is {entry.job.kind!r}"
        states = ", ".join(
            f"{d['name']} is {d['state']} with {format_bytes(d['capacity_bytes'])}, "
            f"{format_bytes(d['others_bytes'])} of them held by other processes"
            for d in details["devices"]
        )
        return f"needs {needs} on one device; {states}"
    free = max((free for key, free in packing.free.items() if entry.job.accepts(packing.devices[key])), default=0)
    free = max(0, free)
    return f"needs {needs}, {format_bytes(free)} are free on one device"
