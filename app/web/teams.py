"""Pages of teams: what each uses, its weight and quotas, and its members' keys with their expiry."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from app.api.dependencies import Wired
from app.expiry import parse_expiry
from app.schemas.operations import KeyRequest, TeamChange, TeamRequest
from app.web.rendering import page
from app.web.visitors import Fields, OwnForm, PageRoute, SignedIn, Visitor
from s2a_core.amounts import exact_amount, parse_bytes
from s2a_core.errors import InvalidInput, S2AError
from s2a_core.sizes import GIB_HOUR

router = APIRouter(include_in_schema=False, route_class=PageRoute)
SCOPES = {"read": "look", "write": "look, submit and change", "admin": "everything, for every team"}
SHOWN = 100  # rows of a page
Made = dict[str, object] | None


@router.get("/teams")
def teams_page(request: Request, wired: Wired, visitor: SignedIn, after: str | None = None) -> Response:
    """Every team, for an admin; one's own for everybody else."""
    if not visitor.caller.is_admin:
        return RedirectResponse(f"/teams/{visitor.caller.team_id}", 303)
    return _teams(request, wired, visitor, after=after)


@router.post("/teams")
def create_team(request: Request, wired: Wired, visitor: SignedIn, fields: OwnForm) -> Response:
    """Make a team and show it."""
    try:
        asked = TeamRequest.model_validate({"name": fields.get("name", ""), **quotas_of(fields)})
        made = wired.teams.create(visitor.caller, asked.model_dump())
    except (ValidationError, S2AError) as error:
        return _teams(request, wired, visitor, values=fields, error=_words(error))
    return RedirectResponse(f"/teams/{made['id']}", 303)


@router.get("/teams/{team_id}/keys")
@router.get("/teams/{team_id}")
def team_page(request: Request, wired: Wired, visitor: SignedIn, team_id: str, after: str | None = None) -> Response:
    """One team."""
    return _team(request, wired, visitor, team_id, after=after)


@router.post("/teams/{team_id}")
def change_team(request: Request, wired: Wired, visitor: SignedIn, team_id: str, fields: OwnForm) -> Response:
    """Set its weight and quotas; a field that is empty has no limit."""
    try:
        asked = TeamChange.model_validate(quotas_of(fields))
        wired.teams.change(visitor.caller, team_id, asked.model_dump(exclude_unset=True))
    except (ValidationError, S2AError) as error:
        return _team(request, wired, visitor, team_id, error=_words(error), values=fields, status=422)
    return RedirectResponse(f"/teams/{team_id}", 303)


@router.post("/teams/{team_id}/keys")
def create_team_key(request: Request, wired: Wired, visitor: SignedIn, team_id: str, fields: OwnForm) -> Response:
    """Make a key for a member and show it this once."""
    name = wired.teams.get(visitor.caller, team_id)["name"]
    try:
        made = _issued(wired, visitor, {**fields, "team": name})
    except (ValidationError, S2AError) as error:
        return _team(request, wired, visitor, team_id, error=_words(error), status=422)
    return _team(request, wired, visitor, team_id, made=made, status=201)


@router.get("/keys")
def keys_page(request: Request, wired: Wired, visitor: SignedIn, after: str | None = None) -> Response:
    """The keys, for an admin; one's own for everybody else."""
    return _keys(request, wired, visitor, after=after)


@router.post("/keys")
def create_key(request: Request, wired: Wired, visitor: SignedIn, fields: OwnForm) -> Response:
    """Make a key and show it this once."""
    try:
        made = _issued(wired, visitor, fields)
    except (ValidationError, S2AError) as error:
        return _keys(request, wired, visitor, error=_words(error), status=422)
    return _keys(request, wired, visitor, made=made, status=201)


@router.post("/keys/{key_id}/revoke")
def revoke_key(wired: Wired, visitor: SignedIn, key_id: str, fields: OwnForm) -> Response:
    """Make a key useless; back to its team's page where it was pressed there."""
    wired.keys.revoke(visitor.caller, key_id)
    team_id = fields.get("team_id", "")
    return RedirectResponse(f"/teams/{team_id}" if team_id.isalnum() or team_id.startswith("team_") else "/keys", 303)


def quotas_of(fields: Fields) -> dict[str, Any]:
    """A form's weight and quotas by the names of the API; None has no limit. Raises InvalidInput for what is none."""
    try:
        hours = float(fields["gib_hours"]) if fields.get("gib_hours") else None
        return {
            "weight": fields.get("weight") or 1.0,
            "quota_jobs": fields.get("quota_jobs") or None,
            "quota_bytes": parse_bytes(fields["quota_bytes"]) if fields.get("quota_bytes") else None,
            "quota_byte_seconds_per_day": None if hours is None else round(hours * GIB_HOUR),
        }
    except (ValueError, OverflowError) as error:
        raise InvalidInput("GiB-hours a day are a number") from error


def quota_values(team: dict[str, Any]) -> Fields:
    """What the form of a team begins with: saved as it is, it changes nothing."""
    hours, num_bytes, jobs = team["quota_byte_seconds_per_day"], team["quota_bytes"], team["quota_jobs"]
    return {
        "weight": f"{team['weight']:.15g}",
        "quota_jobs": "" if jobs is None else str(jobs),
        "quota_bytes": "" if num_bytes is None else exact_amount(num_bytes),
        "gib_hours": "" if hours is None else repr(hours / GIB_HOUR).removesuffix(".0"),
    }


def _issued(wired: Any, visitor: Visitor, fields: Fields) -> dict[str, object]:
    scope = fields.get("scope", "write")
    asked = KeyRequest.model_validate(
        {
            "team": fields.get("team") or "default",
            "name": fields.get("name", ""),
            "scopes": ["read", "write"] if scope == "write" else [scope],
            "expires_at": parse_expiry(fields.get("expires")),
        }
    )
    made: dict[str, object] = wired.keys.issue(visitor.caller, asked.team, asked.scopes, asked.name, asked.expires_at)
    return made


def _words(error: ValidationError | S2AError) -> str:
    if isinstance(error, S2AError):
        return error.message
    first = error.errors()[0]
    return f"{first['loc'][0]}: {first['msg']}"


def _teams(
    request: Request,
    wired: Any,
    visitor: Visitor,
    *,
    after: str | None = None,
    values: Fields | None = None,
    error: str = "",
) -> Response:
    listed = wired.teams.listed(visitor.caller, SHOWN, after)
    return page(
        request,
        "teams.html",
        422 if error else 200,
        teams=sorted(listed["items"], key=lambda team: (-team["usage"]["held_bytes"], team["name"])),
        next=listed["next"],
        values=values or {},
        error=error,
    )


def _listed_keys(wired: Any, visitor: Visitor, after: str | None, team_id: str | None = None) -> dict[str, Any]:
    """A page of keys for an admin; one's own for everybody else."""
    if not visitor.caller.is_admin:
        return {"items": [wired.keys.whoami(visitor.caller)], "next": None}
    listed: dict[str, Any] = wired.keys.listed(visitor.caller, SHOWN, after, team_id)
    return listed


def _team(
    request: Request,
    wired: Any,
    visitor: Visitor,
    team_id: str,
    *,
    made: Made = None,
    error: str = "",
    after: str | None = None,
    values: Fields | None = None,
    status: int = 200,
) -> Response:
    team = wired.teams.get(visitor.caller, team_id)
    listed = _listed_keys(wired, visitor, after, team_id)
    return page(
        request,
        "team.html",
        status,
        team=team,
        keys=listed["items"],
        next=listed["next"],
        made=made,
        error=error,
        values=values or quota_values(team),
        scopes=SCOPES,
    )


def _keys(
    request: Request,
    wired: Any,
    visitor: Visitor,
    *,
    after: str | None = None,
    made: Made = None,
    error: str = "",
    status: int = 200,
) -> Response:
    listed = _listed_keys(wired, visitor, after)
    teams = wired.teams.listed(visitor.caller, SHOWN, None)["items"] if visitor.caller.is_admin else []
    keys, following = listed["items"], listed["next"]
    return page(
        request, "keys.html", status, keys=keys, next=following, teams=teams, made=made, error=error, scopes=SCOPES
    )
