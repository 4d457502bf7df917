"""Memory of devices in a pass: best fit, reservations of the jobs at the head, backfill that never delays them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.queue.policy.facts import Device, Live, Waiting


@dataclass(slots=True)
class Reservation:
    """Where and from when a job at the head starts. extra_bytes: free beside it from that moment on."""

    job_id: str
    device_id: str
    at: float
    extra_bytes: int


class Packing:
    """Free bytes per device, as starts are decided. A device that is not ready has none."""

    def __init__(self, devices: Sequence[Device], lives: Iterable[Live], now: float) -> None:
        self.now = now
        self.devices = {device.id: device for device in devices}
        self.lives: dict[str, list[Live]] = {device.id: [] for device in devices}
        self.free: dict[str, int] = {d.id: d.capacity_bytes - d.others_bytes for d in devices if d.is_ready}
        for live in lives:
            if live.device_id in self.lives:
                self.lives[live.device_id].append(live)
            if live.device_id in self.free:
                self.free[live.device_id] -= live.num_bytes
        self.most_free = max(self.free.values(), default=0)  # on one device
        self.reservations: dict[str, Reservation] = {}

    def best_fit(self, job: Waiting) -> str | None:
        """The device that the job fills best and where it delays nobody's reservation; None when there is none."""
        if min(job.limit_bytes, job.peak_bytes) > self.most_free:
            return None
        best: tuple[int, str] | None = None
        for device_id, free in self.free.items():
            device = self.devices[device_id]
            need = job.need_on(device)
            if need <= free and job.accepts(device) and self._delays_nobody(job, device_id, need):
                fit = (free - need, device_id)
                best = fit if best is None or fit < best else best
        return best[1] if best else None

    def fits_now(self, job: Waiting) -> bool:
        """Whether the job would fit somewhere if nothing were reserved."""
        return min(job.limit_bytes, job.peak_bytes) <= self.most_free and any(
            job.need_on(self.devices[device_id]) <= free and job.accepts(self.devices[device_id])
            for device_id, free in self.free.items()
        )

    def _delays_nobody(self, job: Waiting, device_id: str, need: int) -> bool:
        held = self.reservations.get(device_id)
        if held is None:
            return True
        return self.now + job.runs_s <= held.at or need <= held.extra_bytes

    def place(self, job: Waiting, device_id: str) -> Live:
        """Take the job's memory of a device."""
        need = job.need_on(self.devices[device_id])
        live = Live(
            job.job_id, job.team_id, device_id, need, self.now, self.now + max(1.0, job.runs_s), job.priority, False
        )
        self.lives[device_id].append(live)
        self.free[device_id] -= need
        self.most_free = max(self.free.values())
        held = self.reservations.get(device_id)
        if held is not None and live.ends_at > held.at:
            held.extra_bytes -= need
        return live

    def reserve(self, job: Waiting) -> Reservation | None:
        """Give the job the earliest place that estimated ends promise; None when no ready device ever fits it.

        A device has one reservation at a time; one that has one is not looked at, so None may also mean: not in this
        pass. `could_hold` tells the two apart.
        """
        best: Reservation | None = None
        for device_id in self.free:
            device = self.devices[device_id]
            need = job.need_on(device)
            if device_id in self.reservations or not self.could_hold_on(job, device_id):
                continue
            start = self._earliest(job, device_id, need)
            if start and (best is None or (start.at, start.extra_bytes) < (best.at, best.extra_bytes)):
                best = start
        if best is not None:
            self.reservations[best.device_id] = best
        return best

    def could_hold(self, job: Waiting) -> bool:
        """Whether a ready device would hold the job if all live jobs ended."""
        return any(self.could_hold_on(job, device_id) for device_id in self.free)

    def could_hold_on(self, job: Waiting, device_id: str) -> bool:
        """Whether that device would hold the job if its live jobs ended."""
        device = self.devices[device_id]
        return job.accepts(device) and job.need_on(device) <= device.capacity_bytes - device.others_bytes

    def _earliest(self, job: Waiting, device_id: str, need: int) -> Reservation | None:
        free = self.free[device_id]
        if free >= need:
            return Reservation(job.job_id, device_id, self.now, free - need)
        ends = sorted(self.lives[device_id], key=lambda live: live.ends_at)
        for index, live in enumerate(ends):
            free += live.num_bytes
            is_last_at = index + 1 == len(ends) or ends[index + 1].ends_at > live.ends_at
            if free >= need and is_last_at:
                return Reservation(job.job_id, device_id, max(self.now, live.ends_at), free - need)
        return None
