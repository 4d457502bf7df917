"""/v1/jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from app.api.dependencies import Authenticated, Wired
from app.schemas.jobs import JobRequest

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
EVENT_POLL_S = 0.3


@router.post("", status_code=201)
def submit(wired: Wired, caller: Authenticated, body: JobRequest) -> dict[str, Any]:
    """Queue a fine-tuning job."""
    request = body.model_dump(exclude={"budget", "priority"}, exclude_none=True)
    return wired.jobs.submit(caller, request, body.budget_bytes, body.priority)


@router.get("")
def listed(
    wired: Wired,
    caller: Authenticated,
    status: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: str | None = None,
) -> dict[str, Any]:
    """A page of jobs, newest first; `next` is the `after` of the following page."""
    return wired.jobs.listed(caller, status, limit, after)


@router.get("/{job_id}")
def show(wired: Wired, caller: Authenticated, job_id: str) -> dict[str, Any]:
    """One job."""
    return wired.jobs.get(caller, job_id)


@router.post("/{job_id}/cancel", status_code=202)
def cancel(wired: Wired, caller: Authenticated, job_id: str) -> dict[str, Any]:
    """Stop a job for good."""
    return wired.jobs.cancel(caller, job_id)


@router.post("/{job_id}/pause", status_code=202)
def pause(wired: Wired, caller: Authenticated, job_id: str) -> dict[str, Any]:
    """Stop a job so that it can be resumed."""
    return wired.jobs.pause(caller, job_id)


@router.post("/{job_id}/resume", status_code=202)
def resume(wired: Wired, caller: Authenticated, job_id: str) -> dict[str, Any]:
    """Queue a paused job again."""
    return wired.jobs.resume(caller, job_id)


@router.get("/{job_id}/events")
def events(
    request: Request,
    wired: Wired,
    caller: Authenticated,
    job_id: str,
    after: int = 0,
    last_event_id: Annotated[int | None, Header()] = None,
) -> Response:
    """Events after a number: as server-sent events until the job ends if asked for, else as a list."""
    start = last_event_id if last_event_id is not None else after
    found, has_ended = wired.jobs.events(caller, job_id, start)
    if "text/event-stream" not in request.headers.get("accept", ""):
        return JSONResponse({"items": found, "has_ended": has_ended})

    def stream() -> Iterator[str]:
        seen, batch, is_over = start, found, has_ended
        while True:
            for event in batch:
                seen = event["seq"]
                yield f"id: {seen}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
            if is_over and not batch:
                yield "event: end\ndata: {}\n\n"
                return
            if not batch:
                time.sleep(EVENT_POLL_S)
                yield ": waiting\n\n"
            batch, is_over = wired.jobs.events(caller, job_id, seen)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.get("/{job_id}/metrics")
def metrics(wired: Wired, caller: Authenticated, job_id: str) -> dict[str, Any]:
    """The numbers of each epoch."""
    found, _ = wired.jobs.events(caller, job_id, 0)
    return {"items": [event for event in found if event["type"] == "epoch"]}


@router.get("/{job_id}/artifacts")
def artifacts(wired: Wired, caller: Authenticated, job_id: str) -> dict[str, Any]:
    """Files of a job."""
    return {"items": wired.jobs.artifacts(caller, job_id)}


@router.get("/{job_id}/artifacts/{name}")
def artifact(wired: Wired, caller: Authenticated, job_id: str, name: str) -> FileResponse:
    """One file. Never rendered as a page of this service: it may be anything."""
    path = wired.jobs.artifact_path(caller, job_id, name)
    headers = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, filename=name, headers=headers)
