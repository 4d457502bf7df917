"""/v1/jobs/{id}/attempts, metrics, checkpoints and artifacts."""

from __future__ import annotations

import base64
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response

from app.api.answers import cached, is_known, tagged
from app.api.dependencies import Authenticated, IfNoneMatch, Wired
from app.errors import OutOfRange
from app.schemas.jobs import ArtifactList, AttemptList, CheckpointList, MetricsOut

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["results"])
ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
FILE = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
MAX_STEP = 2**31 - 1


@router.get("/attempts", response_model=AttemptList, responses=cached(403, 404))
def list_attempts(wired: Wired, caller: Authenticated, job_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """The processes that ran, or run, a job."""
    return tagged(wired.results.attempts(caller, job_id), if_none_match)


@router.get("/metrics", response_model=MetricsOut, responses=cached(403, 404))
def list_metrics(
    wired: Wired,
    caller: Authenticated,
    job_id: str,
    name: Annotated[str | None, Query(max_length=100, description="One series, such as `step.loss`.")] = None,
    after_step: Annotated[int, Query(ge=-1, le=MAX_STEP, description="Only points above this step.")] = -1,
    limit: Annotated[
        int, Query(ge=1, le=50_000, description="Points of all series together; longer series are thinned.")
    ] = 10_000,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The numbers of each epoch, and every series with its points."""
    return tagged(wired.results.metrics(caller, job_id, name, after_step, limit), if_none_match)


@router.get("/checkpoints", response_model=CheckpointList, responses=cached(403, 404))
def list_checkpoints(wired: Wired, caller: Authenticated, job_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """States the job can go on from."""
    return tagged(wired.results.checkpoints(caller, job_id), if_none_match)


@router.get("/artifacts", response_model=ArtifactList, responses=cached(403, 404))
def list_artifacts(wired: Wired, caller: Authenticated, job_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """Files of a job."""
    return tagged(wired.results.artifacts(caller, job_id), if_none_match)


@router.get(
    "/artifacts/{name}",
    response_class=FileResponse,
    responses={
        200: {"description": "The whole file.", "content": FILE},
        206: {"description": "The range that was asked for.", "content": FILE},
        **cached(403, 404, 416),
    },
)
def get_artifact(
    request: Request,
    wired: Wired,
    caller: Authenticated,
    job_id: str,
    name: str,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One file, or a range of it. ETag and Repr-Digest are its SHA-256. Never shown as a page: it may be anything."""
    path, document = wired.results.artifact(caller, job_id, name)
    tag = f'"{document["sha256"]}"'
    if is_known(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    _check_range(request, path.stat().st_size)
    digest = base64.b64encode(bytes.fromhex(document["sha256"])).decode()
    headers = {
        "Content-Security-Policy": "sandbox",
        "ETag": tag,
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, no-cache",
    }
    return FileResponse(path, filename=name, headers=headers, media_type="application/octet-stream")


def _check_range(request: Request, num_bytes: int) -> None:
    """OutOfRange for a range the file has not; one that is not understood is ignored, as RFC 9110 has it."""
    given = request.headers.get("range")
    if given is None:
        return
    match = ONE_RANGE.fullmatch(given.strip())
    first, last = (match[1], match[2]) if match else ("", "")
    if first and last and int(last) < int(first):
        match = None
    if match is None or not (first or last):
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
        return
    is_there = int(first) < num_bytes if first else int(last) > 0 and num_bytes > 0
    if not is_there:
        raise OutOfRange(f"the file has {num_bytes:,} bytes, not {given}", details={"num_bytes": num_bytes})
