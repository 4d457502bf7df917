"""Teams: their weights in the queue and their quotas."""

from __future__ import annotations

import time
from typing import Any

from app.errors import NotFound, WrongState
from app.models import Team
from app.services.keys import Caller, require_admin
from app.store import audit, teams
from app.store.database import Database


def document(team: Team, usage: teams.Usage) -> dict[str, Any]:
    """A team as the API shows it."""
    return {
        "id": team.id,
        "name": team.name,
        "weight": team.weight,
        "quota_jobs": team.quota_jobs,
        "quota_bytes": team.quota_bytes,
        "quota_byte_seconds_per_day": team.quota_byte_seconds_per_day,
        "usage": {**vars(usage), "byte_seconds_today": int(usage.byte_seconds_today)},
    }


class TeamService:
    """Everybody sees their own team; admins make and change all of them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def listed(self, caller: Caller, limit: int, after: str | None) -> dict[str, Any]:
        """A page of the teams the caller sees."""
        with self.database.reading() as session:
            rows, following = teams.listed(session, caller.visible_team, limit, after)
            return {"items": self._documents(session, rows), "next": following}

    def get(self, caller: Caller, team_id: str) -> dict[str, Any]:
        """One team."""
        with self.database.reading() as session:
            return self._documents(session, [self._find(session, caller, team_id)])[0]

    def own_name(self, caller: Caller) -> str:
        """The name of the caller's team."""
        with self.database.reading() as session:
            return self._find(session, caller, caller.team_id).name

    def create(self, caller: Caller, values: dict[str, Any]) -> dict[str, Any]:
        """A new team; WrongState when its name is taken."""
        require_admin(caller)
        with self.database.transaction() as session:
            made = Team(**values)
            if not teams.add(session, made):
                raise WrongState(f"there is a team {values['name']!r} already")
            audit.record(session, caller.team_id, caller.key_id, "team.created", made.id, values)
            return document(made, teams.Usage())

    def change(self, caller: Caller, team_id: str, values: dict[str, Any]) -> dict[str, Any]:
        """Set a team's weight and quotas; a quota of None has no limit."""
        require_admin(caller)
        with self.database.transaction() as session:
            team = self._find(session, caller, team_id)
            for name, value in values.items():
                setattr(team, name, value)
            audit.record(session, caller.team_id, caller.key_id, "team.changed", team_id, values)
            return self._documents(session, [team])[0]

    @staticmethod
    def _documents(session: Any, rows: list[Team]) -> list[dict[str, Any]]:
        used = teams.usage(session, [team.id for team in rows], time.time())
        return [document(team, used[team.id]) for team in rows]

    @staticmethod
    def _find(session: Any, caller: Caller, team_id: str) -> Team:
        team = teams.find(session, team_id)
        if team is None or caller.visible_team not in (None, team.id):
            raise NotFound(f"no team {team_id[:100]}")
        return team
