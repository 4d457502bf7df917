"""What a pass of the queue knows (devices, teams, waiting and live jobs) and what it decides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

HOUR_S = 3600.0
MARGIN = 0.03  # over a planned peak; the budget stays the limit


def reservation_of(peak_bytes: int, limit_bytes: int) -> int:
    """Bytes that a plan reserves and its process is capped to: its peak with MARGIN, at most the limit."""
    return min(limit_bytes, int(peak_bytes * (1 + MARGIN)))


@dataclass(frozen=True, slots=True)
class Rules:
    """The constants of the policy, in seconds.

    half_life_s: use this old counts half in the fair share. aging_s: waiting this long raises a job by one class.
    front_s: a job that was its team's next for so long is no longer overtaken by its own team.
    preempt_after_s: a job waits this long before it may stop jobs of a lower class; min_run_s: and those ran this long.
    devices_per_reservation: one device in so many, and one at least, may be reserved for a job that waits at the head.
    depth: jobs of the order that a pass tries to place; those behind wait for a later pass.
    """

    half_life_s: float = 24 * HOUR_S
    aging_s: float = 6 * HOUR_S
    front_s: float = HOUR_S
    preempt_after_s: float = 120.0
    min_run_s: float = 300.0
    top_class: int = 2
    depth: int = 1000
    devices_per_reservation: int = 4
    holders_shown: int = 8


@dataclass(frozen=True, slots=True)
class Device:
    """Memory that jobs share. capacity_bytes: its memory less the reserve. others_bytes: held by foreign processes.

    reserved_bytes is the sum of its live reservations. context_bytes: what a process takes before its first tensor.
    """

    id: str
    name: str
    kind: str
    capacity_bytes: int
    others_bytes: int = 0
    context_bytes: int = 0
    is_ready: bool = True
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Live:
    """A reservation: a job that holds num_bytes of a device and is expected to end at ends_at."""

    job_id: str
    team_id: str
    device_id: str
    num_bytes: int
    started_at: float
    ends_at: float
    priority: int = 1
    is_preemptible: bool = True
    is_stopping: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job. peak_bytes: its planned peak with margin. limit_bytes: its budget, which it never passes.

    Both are everything that its process holds of the device, a GPU's context included.

    runs_s: how long it is expected to run. kind: the kind or name of device it wants, any if None.
    """

    job_id: str
    team_id: str
    created_at: float
    peak_bytes: int
    limit_bytes: int
    runs_s: float = HOUR_S
    priority: int = 1
    kind: str | None = None

    def need_on(self, device: Device) -> int:
        """Bytes a start on that device reserves."""
        return min(self.limit_bytes, max(self.peak_bytes, device.context_bytes))

    def accepts(self, device: Device) -> bool:
        """Whether the job asked for such a device."""
        return self.kind is None or self.kind in (device.kind, device.name, device.id)


@dataclass(frozen=True, slots=True)
class Team:
    """Who jobs belong to. used: decayed byte-seconds. used_today: byte-seconds of the last 24 hours, not decayed."""

    id: str
    name: str = ""
    weight: float = 1.0
    used: float = 0.0
    used_today: float = 0.0
    quota_jobs: int | None = None
    quota_bytes: int | None = None
    quota_byte_seconds_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Front:
    """The job that is its team's next one, and since when."""

    job_id: str
    since: float


@dataclass(frozen=True, slots=True)
class Start:
    """Start a job on a device."""

    job_id: str
    device_id: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Preempt:
    """Stop a live job, through its checkpoint, so that another one can start."""

    job_id: str
    device_id: str
    for_job_id: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a job waits. position: 1 is next. eta_at: when it is expected to start, None when nothing can say.

    The details are made when they are asked for: most of a pass' reasons are as they were and are not written.
    """

    code: str
    message: str
    make_details: Callable[[], Mapping[str, Any]]
    position: int | None
    eta_at: float | None

    @property
    def details(self) -> Mapping[str, Any]:
        """What is short on which device and who holds it."""
        return self.make_details()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why everybody else waits. fronts: to be given to the next pass."""

    starts: tuple[Start, ...] = ()
    preempts: tuple[Preempt, ...] = ()
    waits: Mapping[str, Wait] = field(default_factory=dict)
    fronts: Mapping[str, Front] = field(default_factory=dict)


def decayed(num_bytes: float, start: float, end: float, now: float, half_life_s: float) -> float:
    """Byte-seconds of holding num_bytes from start to end, where use of age a counts 2^(-a / half_life_s).

    The integral of 2^(-(now - t) / H) over [start, end] is H / ln 2 * (2^(-(now - end) / H) - 2^(-(now - start) / H)).
    """
    rate = math.log(2) / half_life_s
    return num_bytes * (math.exp(-rate * (now - end)) - math.exp(-rate * (now - start))) / rate


def expected_end(now: float, started_at: float, guessed_s: float, done: float) -> float:
    """When a live job ends: by the part it has done once that is a twentieth, by the guess before.

    One that outlives its guess is expected to need a quarter of its time so far again, a minute at least.
    """
    ran = now - started_at
    if done >= 0.05:
        return now + ran * (1 - done) / done
    return max(started_at + guessed_s, now + max(60.0, ran / 4))
