"""/livez, /readyz and /metrics: for whoever runs the service. None needs a key; none tells of a team's things."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.answers import problems
from app.api.dependencies import Wired
from app.schemas.operations import Health

router = APIRouter(tags=["system"])
OPEN = problems(503)
TEXT = {"text/plain": {"schema": {"type": "string"}}}


@router.get("/livez", response_model=Health, responses=OPEN)
def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", response_model=Health, responses=OPEN)
def readyz(wired: Wired) -> dict[str, str]:
    """The database takes changes and the disk has room."""
    wired.health.check()
    return {"status": "ok"}


@router.get("/metrics", response_class=Response, responses={200: {"description": "Metrics.", "content": TEXT}, **OPEN})
def metrics(request: Request) -> Response:
    """Prometheus metrics: queue, memory, times and the error of predictions, over all teams."""
    return Response(request.app.state.telemetry.render(), media_type=CONTENT_TYPE_LATEST)
