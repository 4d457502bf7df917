"""The order of the queue: classes raised by waiting, then teams by use per weight, then age within a team.

Jobs of one team stand by class and age. Between teams the one whose decayed byte-seconds, with what its live jobs are
expected to use still, are lowest per weight goes next; every job that is taken charges its team, so the order
interleaves teams by weight however deep it is read.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from app.queue.policy.facts import Live, Rules, Team, Waiting

BY_AGE = attrgetter("created_at", "job_id")


def effective_class(job: Waiting, now: float, rules: Rules) -> int:
    """The job's class, one higher for every aging_s it waits, at most the top class: so no class starves."""
    raised = job.priority + int((now - job.created_at) / rules.aging_s)
    return max(job.priority, min(rules.top_class, raised))


def committed(lives: Iterable[Live], now: float) -> dict[str, float]:
    """Byte-seconds that each team's live jobs are expected to use still."""
    total: dict[str, float] = {}
    for live in lives:
        total[live.team_id] = total.get(live.team_id, 0.0) + live.num_bytes * max(0.0, live.ends_at - now)
    return total


def queues(waiting: Sequence[Waiting], now: float, rules: Rules) -> dict[str, list[tuple[int, Waiting]]]:
    """Each team's jobs, next first, as (minus effective class, job)."""
    submitted: dict[tuple[str, int], list[Waiting]] = {}
    for job in waiting:
        submitted.setdefault((job.team_id, job.priority), []).append(job)
    by_class: dict[tuple[str, int], list[Waiting]] = {}
    for (team, _), jobs in submitted.items():
        jobs.sort(key=BY_AGE)
        start = 0
        while start < len(jobs):  # of one class as submitted, so the older ones stand in the higher classes: in runs
            rank = -effective_class(jobs[start], now, rules)
            end = bisect_right(jobs, rank, start, key=lambda job: -effective_class(job, now, rules))
            by_class.setdefault((team, rank), []).extend(jobs[start:end])
            start = end
    by_team: dict[str, list[tuple[int, Waiting]]] = {}
    for team, rank in sorted(by_class):
        by_class[team, rank].sort(key=BY_AGE)
        by_team.setdefault(team, []).extend([(rank, job) for job in by_class[team, rank]])
    return by_team


class Order:
    """Iterates over jobs in order; `drop_team` removes the rest of a team while the order is read."""

    def __init__(
        self,
        waiting: Sequence[Waiting],
        lives: Iterable[Live],
        teams: Mapping[str, Team],
        now: float,
        rules: Rules,
    ) -> None:
        self._queues = queues(waiting, now, rules)
        ahead = committed(lives, now)
        self._used = {
            team: (teams[team].used if team in teams else 0.0) + ahead.get(team, 0.0) for team in self._queues
        }
        self._weight = {team: max(teams[team].weight, 1e-9) if team in teams else 1.0 for team in self._queues}
        self._dropped: set[str] = set()
        self._refunded = 0.0

    def drop_team(self, team_id: str) -> None:
        """Give no further job of that team."""
        self._dropped.add(team_id)

    def refund(self, job: Waiting) -> None:
        """The job that was given last does not start: its team is not charged."""
        self._refunded = job.peak_bytes * job.runs_s

    def __iter__(self) -> Iterator[Waiting]:
        heap = [self._entry(team, 0) for team in self._queues]
        heapq.heapify(heap)
        while heap:
            _, _, _, team, index = heap[0]
            if team in self._dropped:
                heapq.heappop(heap)
                continue
            job = self._queues[team][index][1]
            self._refunded = 0.0
            yield job
            self._used[team] += job.peak_bytes * job.runs_s - self._refunded
            if index + 1 < len(self._queues[team]):
                heapq.heapreplace(heap, self._entry(team, index + 1))
            else:
                heapq.heappop(heap)

    def _entry(self, team: str, index: int) -> tuple[int, float, float, str, int]:
        rank, job = self._queues[team][index]
        return rank, self._used[team] / self._weight[team], job.created_at, team, index
