"""/v1/runner: what a job's process calls, with the token of its own attempt and its epoch."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request

from app.api.dependencies import Token, Wired
from app.schemas.runner import EventBatch, FinalState, Heartbeat

router = APIRouter(prefix="/v1/runner/attempts/{attempt_id}", tags=["runner"], include_in_schema=False)
Epoch = Annotated[int | None, Header(alias="S2A-Epoch")]


@router.get("/request")
def request(wired: Wired, token: Token, attempt_id: str, epoch: Epoch = None) -> dict[str, Any]:
    """What to run."""
    return wired.runs.request(attempt_id, token, epoch)


@router.post("/heartbeat")
def heartbeat(
    wired: Wired, token: Token, attempt_id: str, body: Heartbeat | None = None, epoch: Epoch = None
) -> dict[str, Any]:
    """The process lives; should it stop?"""
    return wired.runs.heartbeat(attempt_id, token, epoch, body.idle_s if body else None)


@router.post("/events")
def events(wired: Wired, token: Token, attempt_id: str, body: EventBatch, epoch: Epoch = None) -> dict[str, Any]:
    """Events, numbered within the attempt."""
    wired.runs.events(attempt_id, token, body.first, [event.model_dump() for event in body.events], epoch)
    return {}


@router.put("/artifacts/{name}")
async def artifact(
    wired: Wired, token: Token, attempt_id: str, name: str, request: Request, epoch: Epoch = None
) -> dict[str, Any]:
    """A file of the result."""
    wired.runs.artifact(attempt_id, token, name, await request.body(), epoch)
    return {}


@router.post("/state")
def state(wired: Wired, token: Token, attempt_id: str, body: FinalState, epoch: Epoch = None) -> dict[str, Any]:
    """The last word."""
    wired.runs.finish(attempt_id, token, body.status, body.reason, body.report, epoch, body.verdict)
    return {}
