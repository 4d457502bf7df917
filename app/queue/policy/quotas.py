"""A team's quotas: live jobs, bytes held at once, byte-seconds per day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.queue.policy.facts import Live, Team
from s2a_core.sizes import format_bytes


class Quotas:
    """What each team holds, as starts are decided."""

    def __init__(self, teams: Mapping[str, Team], lives: Iterable[Live]) -> None:
        self._teams = teams
        self._jobs: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        for live in lives:
            self.take(live.team_id, live.num_bytes)

    def take(self, team_id: str, num_bytes: int) -> None:
        """Count one more live job."""
        self._jobs[team_id] = self._jobs.get(team_id, 0) + 1
        self._bytes[team_id] = self._bytes.get(team_id, 0) + num_bytes

    def exceeded(self, team_id: str, num_bytes: int) -> tuple[str, str, dict[str, Any]] | None:
        """(code, message, details) of the quota that a job of num_bytes would pass; None when it passes none."""
        team = self._teams.get(team_id)
        if team is None:
            return None
        jobs, held = self._jobs.get(team_id, 0), self._bytes.get(team_id, 0)
        if team.quota_jobs is not None and jobs + 1 > team.quota_jobs:
            message = f"the team runs {jobs} of the {team.quota_jobs} jobs that its quota allows at once"
            return "quota_jobs", message, {"running_jobs": jobs, "quota_jobs": team.quota_jobs}
        if team.quota_bytes is not None and held + num_bytes > team.quota_bytes:
            message = (
                f"the team holds {format_bytes(held)} of its {format_bytes(team.quota_bytes)}; "
                f"this job needs {format_bytes(num_bytes)}"
            )
            details = {"held_bytes": held, "quota_bytes": team.quota_bytes, "needs_bytes": num_bytes}
            return "quota_bytes", message, details
        limit = team.quota_byte_seconds_per_day
        if limit is not None and team.used_today >= limit:
            message = f"the team used {team.used_today / limit:.0%} of its byte-seconds of the last 24 hours"
            return "quota_byte_seconds", message, {"used_byte_seconds": int(team.used_today), "quota": limit}
        return None
