"""/v1/keys, /v1/teams and /v1/audit: who may do what, and who did."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.api.answers import cached, once, problems, tagged
from app.api.dependencies import Admin, After, Authenticated, IdempotencyKey, IfNoneMatch, Limit, Wired
from app.responses import JsonAnswer
from app.schemas.operations import (
    AuditPage,
    KeyOut,
    KeyPage,
    KeyRequest,
    NewKey,
    TeamChange,
    TeamOut,
    TeamPage,
    TeamRequest,
)

router = APIRouter(prefix="/v1", tags=["access"])


@router.post("/keys", status_code=201, response_model=NewKey, responses=problems(403))
def create_key(wired: Wired, caller: Admin, body: KeyRequest) -> Response:
    """A new key; its text is shown this once. There is no Idempotency-Key: no answer with a secret is kept."""
    made = wired.keys.issue(caller, body.team, body.scopes, body.name, body.expires_at)
    return JsonAnswer(made, 201, headers={"Location": f"/v1/keys/{made['id']}"})


@router.get("/keys", response_model=KeyPage, responses=cached(403))
def list_keys(
    wired: Wired,
    caller: Admin,
    team: Annotated[str | None, Query(max_length=100, description="Only keys of the team of this id.")] = None,
    limit: Limit = 50,
    after: After = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Keys, newest first, without their secrets."""
    return tagged(wired.keys.listed(caller, limit, after, team), if_none_match)


@router.get("/keys/me", response_model=KeyOut, responses=problems(403, 404))
def get_own_key(wired: Wired, caller: Authenticated) -> dict[str, Any]:
    """The key this request was sent with."""
    return wired.keys.whoami(caller)


@router.delete("/keys/{key_id}", status_code=204, responses=problems(403, 404, 409))
def delete_key(wired: Wired, caller: Admin, key_id: str) -> None:
    """Make a key useless; 409 for the last valid admin key."""
    wired.keys.revoke(caller, key_id)


@router.post("/teams", status_code=201, response_model=TeamOut, responses=problems(403, 409))
def create_team(wired: Wired, caller: Admin, body: TeamRequest, idempotency_key: IdempotencyKey = None) -> Response:
    """A new team."""
    values = body.model_dump()
    return once(
        wired,
        caller,
        idempotency_key,
        ["team", values],
        lambda: wired.teams.create(caller, values),
        "/v1/teams/{id}",
    )


@router.get("/teams", response_model=TeamPage, responses=cached(403))
def list_teams(
    wired: Wired, caller: Authenticated, limit: Limit = 50, after: After = None, if_none_match: IfNoneMatch = None
) -> Response:
    """The teams the key sees: its own, or all for an admin."""
    return tagged(wired.teams.listed(caller, limit, after), if_none_match)


@router.get("/teams/{team_id}", response_model=TeamOut, responses=cached(403, 404))
def get_team(wired: Wired, caller: Authenticated, team_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """One team."""
    return tagged(wired.teams.get(caller, team_id), if_none_match)


@router.patch("/teams/{team_id}", response_model=TeamOut, responses=problems(403, 404))
def change_team(wired: Wired, caller: Admin, team_id: str, body: TeamChange) -> dict[str, Any]:
    """Set a team's weight and quotas."""
    return wired.teams.change(caller, team_id, body.model_dump(exclude_unset=True))


@router.get("/audit", response_model=AuditPage, responses=cached(403))
def list_audit(
    wired: Wired,
    caller: Admin,
    action: Annotated[str | None, Query(max_length=100, description="Such as `job.cancelled`.")] = None,
    limit: Limit = 50,
    after: After = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Who changed what, newest first."""
    return tagged(wired.audit.listed(caller, action, limit, after), if_none_match)
