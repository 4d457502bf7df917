"""The facts of a pass from the rows of the database: reservations of live attempts, use of teams, waiting jobs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.models import Attempt, AttemptState, DeviceState, Job, JobStatus
from app.models import Device as DeviceRow
from app.queue.policy import Device, Live, Rules, Team, Waiting
from app.queue.policy.facts import decayed, expected_end, reservation_of
from app.queue.policy.order import effective_class
from app.store import queue

CUDA = "cuda"
DAY_S = 24 * 3600.0
DEFAULT_RUN_S = 3600.0  # of a model that nobody has finished yet
PROGRESS_S = 3.0  # progress and history are read again after so long
HISTORY_S = 60.0
STOPPING = (JobStatus.PAUSING, JobStatus.CANCELLING)


@dataclass
class Ledger:
    """Reads the facts. What only changes slowly (use that has ended, run times, progress) is kept for seconds."""

    rules: Rules
    _ended: dict[str, tuple[float, float]] = field(default_factory=dict)  # team -> decayed, of the last day
    _ended_key: tuple[frozenset[str], float] = (frozenset(), -1e18)
    _runs: dict[tuple[str, str], float] = field(default_factory=dict)
    _progress: dict[str, float] = field(default_factory=dict)
    _progress_at: float = -1e18

    def devices(self, rows: Sequence[DeviceRow]) -> list[Device]:
        """Devices as the policy sees them."""
        return [
            Device(
                row.id,
                f"{row.worker}/{row.name}",
                row.kind,
                max(0, row.capacity_bytes - row.reserve_bytes),
                row.baseline_bytes + row.used_by_others_bytes,
                row.context_bytes,
                row.state == DeviceState.READY,
                f"{row.state}: {(row.reason or {}).get('message', '')}".rstrip(": "),
            )
            for row in rows
        ]

    def lives(
        self, session: Session, running: Sequence[tuple[Attempt, Job]], rows: Sequence[DeviceRow], now: float
    ) -> list[Live]:
        """Reservations; one whose device nobody knows counts on the first."""
        self._read(session, running, now)
        first = rows[0].id if rows else ""
        lives = []
        for attempt, job in running:
            guess = self.run_s(job.team_id, str(job.request.get("model")))
            is_stopping = job.status in STOPPING or attempt.state in (AttemptState.ENDED, AttemptState.LOST)
            ends_at = expected_end(now, attempt.started_at, guess, self._progress.get(job.id, 0.0))
            started = Waiting(
                job.id, job.team_id, job.created_at, attempt.reserved_bytes, attempt.reserved_bytes, 0, job.priority
            )
            lives.append(
                Live(
                    job.id,
                    job.team_id,
                    attempt.device_id or first,
                    attempt.reserved_bytes,
                    attempt.started_at,
                    now + 1.0 if is_stopping else ends_at,
                    effective_class(started, attempt.started_at, self.rules),
                    is_stopping=is_stopping,
                )
            )
        return lives

    def teams(self, session: Session, lives: Sequence[Live], now: float) -> dict[str, Team]:
        """Teams with their use: that of ended reservations, and of live ones up to now."""
        used = {
            team: (value * 2 ** (-(now - self._ended_key[1]) / self.rules.half_life_s), day)
            for team, (value, day) in self._ended.items()
        }
        for live in lives:
            value, day = used.get(live.team_id, (0.0, 0.0))
            value += decayed(live.num_bytes, min(live.started_at, now), now, now, self.rules.half_life_s)
            day += live.num_bytes * (now - max(live.started_at, now - DAY_S))
            used[live.team_id] = (value, day)
        return {
            row.id: Team(
                row.id,
                row.name,
                row.weight,
                *used.get(row.id, (0.0, 0.0)),
                row.quota_jobs,
                row.quota_bytes,
                row.quota_byte_seconds_per_day,
            )
            for row in queue.teams(session)
        }

    def waiting(self, session: Session, rows: Sequence[DeviceRow]) -> list[Waiting]:
        """Queued jobs. One that names no kind of device runs on a GPU where there is one."""
        default = default_kind(rows)
        return [waiting_of(row, self.run_s(row.team_id, row.model), default) for row in queue.waiting(session)]

    def run_s(self, team_id: str, model: str) -> float:
        """How long jobs of that model took that team, or anybody, in the median."""
        return self._runs.get((team_id, model)) or self._runs.get(("", model)) or DEFAULT_RUN_S

    def _read(self, session: Session, running: Sequence[tuple[Attempt, Job]], now: float) -> None:
        if now - self._progress_at > PROGRESS_S:
            self._progress, self._progress_at = queue.progress(session, [job.id for _, job in running]), now
        key = frozenset(attempt.id for attempt, _ in running)
        if key == self._ended_key[0] and now - self._ended_key[1] < HISTORY_S:
            return
        self._ended_key = (key, now)
        self._ended = {}
        for team, num_bytes, start, end in queue.used_since(session, now - 5 * self.rules.half_life_s):
            value, day = self._ended.get(team, (0.0, 0.0))
            value += decayed(num_bytes, start, min(end, now), now, self.rules.half_life_s)
            self._ended[team] = (value, day + num_bytes * max(0.0, end - max(start, now - DAY_S)))
        times: dict[tuple[str, str], list[float]] = {}
        for team, model, start, end in queue.run_times(session):
            for owner in (team, ""):
                times.setdefault((owner, model), []).append(max(1.0, end - start))
        self._runs = {key: statistics.median(values) for key, values in times.items()}


def default_kind(rows: Sequence[DeviceRow]) -> str | None:
    """The kind of device for a job that names none: a GPU where there is one, any otherwise."""
    return CUDA if any(row.kind == CUDA and row.state != DeviceState.GONE for row in rows) else None


def waiting_of(row: Job | Row[Any], runs_s: float, default: str | None) -> Waiting:
    """A job, or the columns of one, as the policy sees it. Without a plan its peak is its budget."""
    planned = row.planned_peak_bytes
    peak = row.budget_bytes if planned is None else reservation_of(planned, row.budget_bytes)
    return Waiting(
        row.id,
        row.team_id,
        row.created_at,
        peak,
        row.budget_bytes,
        runs_s,
        row.priority,
        row.device or default,
    )
