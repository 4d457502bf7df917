"""/v1/plans and /v1/profiles."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.api.answers import cached, once, problems, tagged
from app.api.dependencies import After, Authenticated, IdempotencyKey, IfNoneMatch, Limit, Wired, Writer
from app.schemas.jobs import PlanRequest
from app.schemas.resources import PlanOut, PlanPage, PlanStatus, ProfileOut

router = APIRouter(prefix="/v1", tags=["plans"])


@router.post("/plans", status_code=202, response_model=PlanOut, responses=problems(403, 404, 409))
def create_plan(wired: Wired, caller: Writer, body: PlanRequest, idempotency_key: IdempotencyKey = None) -> Response:
    """Ask how a model would fit a budget; the plan becomes `ready`, or `infeasible` with the smallest budget."""
    request = body.run_request()
    budget_bytes = body.budget_bytes
    key = ["plan", body.model_dump()]
    return once(
        wired,
        caller,
        idempotency_key,
        key,
        lambda: wired.plans.ask(caller, request, budget_bytes),
        "/v1/plans/{id}",
        status=202,
    )


@router.get("/plans", response_model=PlanPage, responses=cached(403))
def list_plans(
    wired: Wired,
    caller: Authenticated,
    status: Annotated[PlanStatus | None, Query(description="Only plans of this status.")] = None,
    limit: Limit = 50,
    after: After = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A page of plans, newest first."""
    return tagged(wired.plans.listed(caller, status, limit, after), if_none_match)


@router.get("/plans/{plan_id}", response_model=PlanOut, responses=cached(403, 404))
def get_plan(wired: Wired, caller: Authenticated, plan_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """One plan with its alternatives."""
    return tagged(wired.plans.get(caller, plan_id), if_none_match)


@router.get("/profiles/{fingerprint}", response_model=ProfileOut, responses=cached(403, 404))
def get_profile(
    wired: Wired,
    caller: Authenticated,
    fingerprint: Annotated[str, Path(description="`profile` of a plan.")],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """What was measured of a model and adapter on a device; it says nothing of anybody's data."""
    return tagged(wired.plans.profile(fingerprint), if_none_match)
