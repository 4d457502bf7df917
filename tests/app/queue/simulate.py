"""A queue in virtual time: a seeded trace replayed through the policy, to measure packing, fairness and starvation.

Jobs that share a device slow each other down: each asks for a part of the device's arithmetic, and when the parts sum
to more than one, all run at 1 / sum; switching between processes costs a part of the device besides. Users' estimates
of the run time are wrong by a log-normal factor, as they are on real clusters. Devices, jobs and teams are made up; the
policy is the service's own.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.queue.policy import Device, Front, Live, Rules, Team, Waiting, decide
from app.queue.policy.facts import decayed, expected_end

GIB = 2**30
PARTS = (0.1, 0.2, 0.33, 0.5, 0.95)  # of a device's memory
MIX = (20, 30, 25, 17, 8)
SWITCHING = 0.05  # of a shared device's speed


@dataclass(frozen=True, slots=True)
class TraceJob:
    """A job of a trace. work_s: its run time alone on a device. compute: the part of the device's speed it asks for."""

    id: str
    team_id: str
    arrives_at: float
    num_bytes: int
    work_s: float
    guessed_s: float
    compute: float
    priority: int


@dataclass(slots=True)
class Running:
    """A job on a device, and the work it has left."""

    job: TraceJob
    live: Live
    left_s: float


@dataclass(slots=True)
class Outcome:
    """What a replay measured. Times are virtual seconds.

    longest_front_s: the longest that a job was its team's next one before it started.
    most_passed_over: of all jobs, the most that later jobs of its own team with its class or a lower one started first.
    shares: byte-seconds delivered per team, as a part of all, while every team had jobs waiting that would fill its
    share of the memory; window_s: for how long. A team that asks for less than its share gets less, under any policy.
    """

    ended_at: float = 0.0
    num_ended: int = 0
    longest_wait_s: float = 0.0
    longest_front_s: float = 0.0
    most_passed_over: int = 0
    most_reserved: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    window_s: float = 0.0


def trace(
    num_jobs: int,
    teams: Sequence[Team],
    seed: int,
    arrive_within_s: float,
    device_bytes: int = 80 * GIB,
    mix: Sequence[float] = MIX,
    is_by_weight: bool = False,
) -> list[TraceJob]:
    """Jobs with log-normal run times (median 20 min), sizes of a tenth to all of a device, in order of arrival.

    mix: how many jobs have each of the sizes PARTS. is_by_weight: a team of more weight has more jobs.
    """
    rng, weights = random.Random(seed), [team.weight for team in teams]
    found = []
    for index in range(num_jobs):
        work_s = min(12 * 3600.0, 1200 * math.exp(rng.gauss(0, 1)))
        part = rng.choices(PARTS, mix)[0]
        found.append(
            TraceJob(
                id=f"job{index:05d}",
                team_id=(rng.choices(teams, weights)[0] if is_by_weight else teams[rng.randrange(len(teams))]).id,
                arrives_at=rng.uniform(0, arrive_within_s),
                num_bytes=int(part * device_bytes * rng.uniform(0.8, 1.0)),
                work_s=work_s,
                guessed_s=work_s * math.exp(rng.gauss(0, 0.5)),
                compute=rng.uniform(0.1, 0.7),
                priority=rng.choices((0, 1, 2), (20, 70, 10))[0],
            )
        )
    return sorted(found, key=lambda job: job.arrives_at)


def speed(runs: Collection[Running]) -> float:
    """At what part of its own speed each of the jobs that share a device runs."""
    asked = sum(run.job.compute for run in runs)
    return (1 - SWITCHING if len(runs) > 1 else 1.0) / max(1.0, asked)


def exclusive_end(jobs: Sequence[TraceJob], num_devices: int) -> float:
    """When the last job ends if each device runs one job at a time, and is never idle while a job waits."""
    free_at = [0.0] * num_devices
    for job in jobs:
        heapq.heapreplace(free_at, max(free_at[0], job.arrives_at) + job.work_s)
    return max(free_at)


class Replay:
    """One replay of a trace through the policy, with a pass every pass_every_s in which something happened."""

    def __init__(
        self,
        jobs: Sequence[TraceJob],
        teams: Sequence[Team],
        devices: Sequence[Device],
        rules: Rules | None = None,
        pass_every_s: float = 30.0,
    ) -> None:
        self.jobs, self.devices = list(jobs), list(devices)
        self.teams = {team.id: team for team in teams}
        self.rules, self.pass_every_s = rules or Rules(), pass_every_s
        self.now = 0.0
        self.running: dict[str, dict[str, Running]] = {device.id: {} for device in devices}
        self.waiting: dict[str, Waiting] = {}
        self.queued: dict[str, dict[str, TraceJob]] = {team.id: {} for team in teams}
        self.used: dict[str, float] = {team.id: 0.0 for team in teams}  # decayed to self.now
        self.wanted: dict[str, int] = dict.fromkeys(self.used, 0)  # bytes of its waiting jobs
        whole, weights = sum(device.capacity_bytes for device in devices), sum(team.weight for team in teams)
        self.fair = {team.id: team.weight / weights * whole for team in teams}
        self.fronts: Mapping[str, Front] = {}
        self.passed: dict[str, int] = {}
        self.delivered: dict[str, float] = dict.fromkeys(self.used, 0.0)
        self.outcome = Outcome(most_reserved={device.id: 0.0 for device in devices})

    def run(self) -> Outcome:
        """Replay to the end of the last job."""
        arrivals = list(reversed(self.jobs))
        while arrivals or self.waiting or any(self.running.values()):
            until = self._next_time(arrivals[-1].arrives_at if arrivals else math.inf)
            self._advance(until)
            while arrivals and arrivals[-1].arrives_at <= self.now:
                self._arrive(arrivals.pop())
            self._pass()
        self.outcome.ended_at = self.now
        total = sum(self.delivered.values())
        self.outcome.shares = {team: value / total for team, value in self.delivered.items()} if total else {}
        return self.outcome

    def _next_time(self, arrival: float) -> float:
        ends = [
            self.now + min(run.left_s for run in runs.values()) / speed(runs.values())
            for runs in self.running.values()
            if runs
        ]
        event = min([arrival, *ends])
        return max(self.now, math.ceil(event / self.pass_every_s) * self.pass_every_s)

    def _advance(self, until: float) -> None:
        """Go to `until`; the memory of jobs that end on the way is free from the next pass on."""
        step = until - self.now
        fade = 2 ** (-step / self.rules.half_life_s)
        is_window = all(self.wanted[team] >= fair for team, fair in self.fair.items())
        for team in self.used:
            self.used[team] *= fade
        for runs in self.running.values():
            for run in runs.values():
                team, num_bytes = run.job.team_id, run.live.num_bytes
                self.used[team] += decayed(num_bytes, self.now, until, until, self.rules.half_life_s)
                if is_window:
                    self.delivered[team] += num_bytes * step
        self.outcome.window_s += step if is_window else 0.0
        for device_id in self.running:
            self._work(device_id, step)
        self.now = until

    def _work(self, device_id: str, step: float) -> None:
        runs = self.running[device_id]
        while runs and step > 0:
            fast = speed(runs.values())
            part = min(step, min(run.left_s for run in runs.values()) / fast)
            for key, run in list(runs.items()):
                run.left_s -= part * fast
                if run.left_s <= 1e-6:
                    del runs[key]
                    self.outcome.num_ended += 1
            step -= part

    def _arrive(self, job: TraceJob) -> None:
        wanted = Waiting(job.id, job.team_id, job.arrives_at, job.num_bytes, job.num_bytes, job.guessed_s, job.priority)
        self.waiting[job.id] = wanted
        self.queued[job.team_id][job.id] = job
        self.wanted[job.team_id] += job.num_bytes

    def _facts(self) -> tuple[list[Device], list[Live], list[Waiting], dict[str, Team]]:
        lives = []
        for runs in self.running.values():
            for run in runs.values():
                done = 1 - run.left_s / run.job.work_s
                ends_at = expected_end(self.now, run.live.started_at, run.job.guessed_s, done)
                lives.append(replace(run.live, ends_at=ends_at))
        teams = {key: replace(team, used=self.used[key]) for key, team in self.teams.items()}
        return self.devices, lives, list(self.waiting.values()), teams

    def _whole(self, device_id: str) -> int:
        return next(device.capacity_bytes for device in self.devices if device.id == device_id)

    def _pass(self) -> None:
        if not self.waiting:
            return
        devices, lives, waiting, teams = self._facts()
        made = decide(self.now, devices, teams, lives, waiting, self.fronts, self.rules, is_explained=False)
        for start in made.starts:
            front = self.fronts.get(self.waiting[start.job_id].team_id)
            if front is not None and front.job_id == start.job_id:
                self.outcome.longest_front_s = max(self.outcome.longest_front_s, self.now - front.since)
            self._start(start.job_id, start.device_id)
        self.fronts = made.fronts

    def _start(self, job_id: str, device_id: str) -> None:
        wanted = self.waiting.pop(job_id)
        job = self.queued[wanted.team_id].pop(job_id)
        self.wanted[job.team_id] -= job.num_bytes
        live = Live(job.id, job.team_id, device_id, job.num_bytes, self.now, self.now + job.guessed_s, job.priority)
        self.running[device_id][job.id] = Running(job, live, job.work_s)
        reserved = sum(run.live.num_bytes for run in self.running[device_id].values()) / self._whole(device_id)
        self.outcome.most_reserved[device_id] = max(self.outcome.most_reserved[device_id], reserved)
        self.outcome.longest_wait_s = max(self.outcome.longest_wait_s, self.now - wanted.created_at)
        for other in self.queued[job.team_id].values():
            if other.arrives_at < job.arrives_at and other.priority >= job.priority:
                self.passed[other.id] = self.passed.get(other.id, 0) + 1
        self.outcome.most_passed_over = max(self.outcome.most_passed_over, self.passed.pop(job.id, 0))
