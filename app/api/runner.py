"""/v1/runner: what a job's process calls, with the token of its own attempt and its epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response
from fastapi.routing import APIRoute

from app.api.dependencies import Token, Wired, bearer, services
from app.schemas.runner import EventBatch, FinalState, Heartbeat


class AttemptRoute(APIRoute):
    """A route that looks at the token before it reads a body: FastAPI reads it first, and a run's may be large."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the look at the token."""
        serve = super().get_route_handler()
        if self.body_field is None:
            return serve

        async def checked(request: Request) -> Response:
            wired, token = await services(request), await bearer(request.headers.get("authorization"))
            await to_thread.run_sync(wired.runs.check, request.path_params["attempt_id"], token)
            return await serve(request)

        return checked


router = APIRouter(
    prefix="/v1/runner/attempts/{attempt_id}", tags=["runner"], include_in_schema=False, route_class=AttemptRoute
)
PIECE_BYTES = 2**20  # of a file, between two writes
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
    body = body or Heartbeat(idle_s=None, use=None)
    use = body.use.model_dump() if body.use else None
    return wired.runs.heartbeat(attempt_id, token, epoch, body.idle_s, use)


@router.post("/events")
def events(wired: Wired, token: Token, attempt_id: str, body: EventBatch, epoch: Epoch = None) -> dict[str, Any]:
    """Events, numbered within the attempt."""
    wired.runs.events(attempt_id, token, body.first, [event.model_dump() for event in body.events], epoch)
    return {}


@router.put("/artifacts/{name}")
async def artifact(
    wired: Wired, token: Token, attempt_id: str, name: str, request: Request, epoch: Epoch = None
) -> dict[str, Any]:
    """A file of the result, to the disk as it comes."""
    part = await to_thread.run_sync(wired.runs.part, attempt_id, token, name, epoch)
    try:
        digest = await _received(request, part)
        await to_thread.run_sync(wired.runs.artifact, attempt_id, token, part, name, digest, epoch)
    finally:
        part.unlink(missing_ok=True)
    return {}


async def _received(request: Request, part: Path) -> str:
    """Write the body into a file; its SHA-256."""
    digest = hashlib.sha256()

    def keep(content: bytes) -> None:
        digest.update(content)
        file.write(content)

    with part.open("xb") as file:
        held = bytearray()
        async for chunk in request.stream():
            held += chunk
            if len(held) >= PIECE_BYTES:
                await to_thread.run_sync(keep, bytes(held))
                held.clear()
        await to_thread.run_sync(keep, bytes(held))
    return digest.hexdigest()


@router.post("/state")
def state(wired: Wired, token: Token, attempt_id: str, body: FinalState, epoch: Epoch = None) -> dict[str, Any]:
    """The last word."""
    wired.runs.finish(attempt_id, token, body.status, body.reason, body.report, epoch, body.verdict)
    return {}
