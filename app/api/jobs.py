"""/v1/jobs: submit, list, show, cancel, pause, resume."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from app.api.answers import cached, once, problems, tagged, version_tag
from app.api.dependencies import (
    After,
    Authenticated,
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    Limit,
    Wired,
    Writer,
    version_of,
)
from app.responses import JsonAnswer
from app.schemas.jobs import JobOut, JobPage, JobRequest, Status

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post("", status_code=201, response_model=JobOut, responses=problems(403, 404, 409))
def create_job(wired: Wired, caller: Writer, body: JobRequest, idempotency_key: IdempotencyKey = None) -> Response:
    """Queue a fine-tuning job, from a whole request or from a plan that is ready."""

    def act() -> dict[str, Any]:
        return wired.jobs.submit(
            caller,
            body.run_request(),
            body.budget_bytes,
            body.priority,
            name=body.name,
            labels=body.metadata,
            plan_id=body.plan,
        )

    return once(wired, caller, idempotency_key, ["job", body.model_dump()], act, "/v1/jobs/{id}")


@router.get("", response_model=JobPage, responses=cached(403))
def list_jobs(
    wired: Wired,
    caller: Authenticated,
    status: Annotated[Status | None, Query(description="Only jobs of this status.")] = None,
    q: Annotated[
        str, Query(max_length=200, description="Only jobs with all these words in name, id, model, adapter or data.")
    ] = "",
    limit: Limit = 50,
    after: After = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A page of jobs, newest first."""
    return tagged(wired.jobs.listed(caller, status, limit, after, q), if_none_match)


@router.get("/{job_id}", response_model=JobOut, responses=cached(403, 404))
def get_job(wired: Wired, caller: Authenticated, job_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """One job."""
    job = wired.jobs.get(caller, job_id)
    return tagged(job, if_none_match, version_tag(job))


@router.post("/{job_id}/cancel", status_code=202, response_model=JobOut, responses=problems(403, 404, 409, 412))
def cancel_job(wired: Wired, caller: Writer, job_id: str, if_match: IfMatch = None) -> Response:
    """Stop a job for good."""
    return _accepted(wired.jobs.cancel(caller, job_id, version_of(if_match)))


@router.post("/{job_id}/pause", status_code=202, response_model=JobOut, responses=problems(403, 404, 409, 412))
def pause_job(wired: Wired, caller: Writer, job_id: str, if_match: IfMatch = None) -> Response:
    """Stop a job so that it can be resumed from its last checkpoint."""
    return _accepted(wired.jobs.pause(caller, job_id, version_of(if_match)))


@router.post("/{job_id}/resume", status_code=202, response_model=JobOut, responses=problems(403, 404, 409, 412))
def resume_job(wired: Wired, caller: Writer, job_id: str, if_match: IfMatch = None) -> Response:
    """Queue a paused job again."""
    return _accepted(wired.jobs.resume(caller, job_id, version_of(if_match)))


def _accepted(job: dict[str, Any]) -> Response:
    headers = {"ETag": version_tag(job), "Location": f"/v1/jobs/{job['id']}"}
    return JsonAnswer(job, 202, headers=headers)
