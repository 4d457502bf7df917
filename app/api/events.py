"""/v1/jobs/{id}/events: as a list, or as server-sent events that lose nothing."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from fastapi.sse import EventSourceResponse, format_sse_event

from app.api.answers import problems
from app.api.dependencies import Authenticated, Services, Wired
from app.errors import NotAuthorized
from app.responses import JsonAnswer
from app.schemas.jobs import EventPage
from app.services.keys import Caller
from app.text import dumps

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
MAX_SEQ = 2**31 - 1
RETRY_MS = 1000
STREAM = {"text/event-stream": {"schema": {"type": "string"}}}


@dataclass(frozen=True)
class Look:
    """What a stream sends next. frames: events as they are sent; last: the seq of the newest one, or where it began."""

    frames: bytes
    last: int
    has_ended: bool


@router.get(
    "/{job_id}/events",
    response_model=EventPage,
    responses={
        200: {"description": "A list, or a stream where `Accept: text/event-stream` asks for it.", "content": STREAM},
        **problems(403, 404),
    },
)
async def list_events(
    request: Request,
    wired: Wired,
    caller: Authenticated,
    job_id: str,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="Only events whose seq is above.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Events of a list.")] = 500,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=MAX_SEQ, description="The same as `after`, for streams.")
    ] = None,
) -> Response:
    """Events of a job in order: a list, or with `Accept: text/event-stream` a stream until the job ends.

    A stream's event ids are the events' seq: a client that reconnects with Last-Event-ID misses nothing and sees
    nothing twice. It ends with an event `end`; a comment is sent every few seconds while nothing happens.
    """
    start = last_event_id if last_event_id is not None else after
    events, has_ended = await anyio.to_thread.run_sync(wired.jobs.events, caller, job_id, start, limit)
    if "text/event-stream" not in request.headers.get("accept", ""):
        return JsonAnswer({"items": events, "has_ended": has_ended})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    stream = _stream(wired, caller, job_id, start, _framed(events, has_ended, start))
    return EventSourceResponse(stream, headers=headers)


def _framed(events: list[dict[str, Any]], has_ended: bool, start: int) -> Look:
    frames = [format_sse_event(data_str=dumps(event), event=event["type"], id=str(event["seq"])) for event in events]
    return Look(b"".join(frames), events[-1]["seq"] if events else start, has_ended)


async def _stream(wired: Services, caller: Caller, job_id: str, start: int, first_page: Look) -> AsyncIterator[bytes]:
    """The events after `start`, while the caller's key is valid; first_page: the first look."""
    yield format_sse_event(retry=RETRY_MS, comment=f"events of {job_id} after {start}")
    seen = start
    spoke_at = checked_at = time.monotonic()

    def look() -> Look:
        return _framed(*wired.jobs.events(caller, job_id, seen), seen)

    while True:
        if first_page.frames:
            yield first_page.frames
            seen, spoke_at = first_page.last, time.monotonic()
        elif first_page.has_ended:
            yield format_sse_event(data_str=json.dumps({"last": seen}), event="end")
            return
        if wired.feed.is_closed:
            yield format_sse_event(comment="the service stops: reconnect")
            return
        if not first_page.frames:
            await wired.feed.wait(wired.stream_heartbeat_s)
            if time.monotonic() - spoke_at >= wired.stream_heartbeat_s:
                yield format_sse_event(comment="alive")
                spoke_at = time.monotonic()
        if time.monotonic() - checked_at >= wired.stream_heartbeat_s:
            checked_at = time.monotonic()
            try:
                await anyio.to_thread.run_sync(wired.keys.holder, caller.key_id or "")
            except NotAuthorized:
                yield format_sse_event(comment="the key was revoked or has expired")
                return
        first_page = await wired.feed.shared((job_id, seen), look)
