"""/livez, /readyz and /v1/keys."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from app.api.dependencies import Authenticated, Wired
from app.schemas.runner import KeyRequest
from app.services.keys import require_admin

router = APIRouter(tags=["system"])


@router.get("/livez")
def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(wired: Wired) -> dict[str, str]:
    """The database answers."""
    wired.keys.ping()
    return {"status": "ok"}


@router.post("/v1/keys", status_code=201)
def create_key(wired: Wired, caller: Authenticated, body: KeyRequest) -> dict[str, str]:
    """A new key; shown once."""
    require_admin(caller)
    return {"key": wired.keys.create(body.team, *body.scopes)}


@router.get("/v1/keys")
def keys(wired: Wired, caller: Authenticated) -> dict[str, Any]:
    """Every key, without its secret."""
    return {"items": wired.keys.listed(caller)}


@router.delete("/v1/keys/{key_id}", status_code=204)
def revoke_key(wired: Wired, caller: Authenticated, key_id: str) -> None:
    """Make a key useless."""
    wired.keys.revoke(caller, key_id)
