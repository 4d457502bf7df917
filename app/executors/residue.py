"""Whether a device has its memory back after an attempt: bytes of nobody we know must return to the baseline."""

from __future__ import annotations

import time
from typing import Any

from app.executors.base import DeviceReading
from app.executors.watch import DeviceWatch
from app.models.tables import Attempt
from s2a_core.sizes import format_bytes

SLACK_BYTES = 64 * 2**20  # the driver's own allocations move by this much
POLL_S = 0.1


class Residue:
    """Remembers what a device held besides its processes, and waits until it is so again."""

    def __init__(self, devices: DeviceWatch, patience_s: float) -> None:
        self.devices, self.patience_s = devices, patience_s
        self._baseline: dict[str, int] = {}

    def after(self, attempt: Attempt) -> dict[str, Any] | None:
        """Wait for the memory of an attempt whose processes are gone; the reason to quarantine its device, or None."""
        pid = (attempt.handle or {}).get("pid")
        place = (attempt.handle or {}).get("device")
        if place is None:
            return None
        is_hidden = ((attempt.handle or {}).get("use") or {}).get("is_listed") is False
        deadline = time.monotonic() + self.patience_s
        while True:
            reading = self._reading(str(place))
            if reading is None or not (left := self._left(reading, pid, attempt.reserved_bytes, is_hidden)):
                return None
            if time.monotonic() > deadline:
                message = f"{format_bytes(left)} of an ended attempt are still in use after {self.patience_s:.0f} s"
                return {
                    "code": "memory_not_returned",
                    "message": message,
                    "details": {"attempt": attempt.id, "bytes": left, "pid": pid},
                }
            time.sleep(POLL_S)

    def note(self) -> None:
        """Take what devices hold besides processes as their baseline, where none is known."""
        for reading in self.devices.read() or ():
            self._baseline.setdefault(f"{reading.worker}/{reading.name}", reading.unclaimed_bytes)

    def _reading(self, place: str) -> DeviceReading | None:
        return next((r for r in self.devices.read() or () if f"{r.worker}/{r.name}" == place), None)

    def _left(self, reading: DeviceReading, pid: int | None, reserved_bytes: int, is_hidden: bool) -> int:
        """Bytes that should have come back. None are claimed where the driver hides whose bytes are whose."""
        if pid is not None and pid in reading.used_by_pid:
            return reading.used_by_pid[pid] or reserved_bytes
        baseline = self._baseline.setdefault(f"{reading.worker}/{reading.name}", reading.unclaimed_bytes)
        extra = reading.unclaimed_bytes - baseline
        return extra if extra > SLACK_BYTES and not is_hidden else 0
