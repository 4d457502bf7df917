"""Statements about teams, their weights and quotas, and what they use."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Attempt, Job, JobStatus, Team
from app.store.pages import by_id
from app.store.unique import add_unique

DAY_S = 24 * 3600.0


@dataclass
class Usage:
    """What a team has at this moment, and its byte-seconds of the last 24 hours."""

    running_jobs: int = 0
    waiting_jobs: int = 0
    held_bytes: int = 0
    byte_seconds_today: float = 0.0


def find(session: Session, team_id: str) -> Team | None:
    """A team by its id."""
    return session.get(Team, team_id)


def add(session: Session, team: Team) -> bool:
    """Store a team; its id is set. False when its name is taken."""
    return add_unique(session, team)


def listed(session: Session, team_id: str | None, limit: int, after: str | None) -> tuple[list[Team], str | None]:
    """(teams by id, only that one if it is given; the cursor of the next page)."""
    wanted = select(Team) if team_id is None else select(Team).where(Team.id == team_id)
    return by_id(session, Team, wanted, limit, after)


def usage(session: Session, team_ids: list[str], now: float) -> dict[str, Usage]:
    """What each of these teams uses."""
    used = {team_id: Usage() for team_id in team_ids}
    is_recent = Attempt.is_live | (Attempt.ended_at > now - DAY_S)
    reservations = (
        select(Job.team_id, Attempt.is_live, Attempt.reserved_bytes, Attempt.started_at, Attempt.ended_at)
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.team_id.in_(team_ids), is_recent)
    )
    for team_id, is_live, num_bytes, started_at, ended_at in session.execute(reservations):
        team, end = used[team_id], now if is_live or ended_at is None else ended_at
        team.byte_seconds_today += num_bytes * max(0.0, end - max(started_at, now - DAY_S))
        if is_live:
            team.running_jobs += 1
            team.held_bytes += num_bytes
    is_waiting = (Job.team_id.in_(team_ids), Job.status == JobStatus.QUEUED)
    for team_id, count in session.execute(select(Job.team_id, func.count()).where(*is_waiting).group_by(Job.team_id)):
        used[team_id].waiting_jobs = int(count)
    return used
