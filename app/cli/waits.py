"""Why a job waits, in lines: its place, when it may start, and per device what is short and who holds it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from s2a_core.sizes import format_bytes

Document = Mapping[str, Any]
DEVICES_SHOWN = 8


def until(at: float, now: float | None = None) -> str:
    """How far ahead a Unix time is."""
    left = at - (time.time() if now is None else now)
    if left < 60:
        return "within a minute"
    for unit, name in ((86400, "days"), (3600, "hours")):
        if left >= 2 * unit:
            return f"in about {left / unit:.0f} {name}"
    return f"in about {left / 60:.0f} min"


def lines(job: Document, now: float | None = None) -> list[str]:
    """The lines below a waiting job's reason; none for other jobs."""
    if job["status"] != "queued":
        return []
    texts = []
    if job.get("position"):
        start = job.get("estimated_start_at")
        texts.append(
            f"  position   {job['position']} in the queue" + (f", starts {until(start, now)}" if start else "")
        )
    devices = ((job.get("reason") or {}).get("details") or {}).get("devices") or []
    texts += [_device(device) for device in devices[:DEVICES_SHOWN]]
    if len(devices) > DEVICES_SHOWN:
        texts.append(f"  and {len(devices) - DEVICES_SHOWN} more devices")
    return texts


def _device(device: Document) -> str:
    """A device, what it lacks and who holds it."""
    if device["state"] != "ready":
        return f"  {escape(device['name'])}: {escape(device['state'])}"
    free, capacity = format_bytes(device["free_bytes"]), format_bytes(device["capacity_bytes"])
    line = f"  {escape(device['name'])}: {free} free of {capacity}"
    if device["short_bytes"]:
        line += f", {format_bytes(device['short_bytes'])} short"
    holders = [f"{escape(str(h['job'] or h['team']))} {format_bytes(h['bytes'])}" for h in device["held_by"]]
    if device["num_holders"] > len(holders):
        holders.append(f"{device['num_holders'] - len(holders)} more jobs")
    if device["others_bytes"]:
        holders.append(f"other processes {format_bytes(device['others_bytes'])}")
    return line + (f"; held by {', '.join(holders)}" if holders else "")
