"""What endpoints are given: the services, who is calling, and the headers and parameters that many of them take.

What asks no database is a coroutine, though it waits for nothing: FastAPI sends a plain function to a thread, and a
request would spend more on handing over than on its answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Header, Query, Request

from app.limits import RateLimit
from app.services.accuracy import AccuracyService
from app.services.audit import AuditService
from app.services.datasets import DatasetService
from app.services.devices import DeviceService
from app.services.feed import EventFeed
from app.services.health import HealthService
from app.services.idempotency import IdempotencyService
from app.services.jobs import JobService
from app.services.keys import Caller, KeyService, require
from app.services.models import ModelCatalog
from app.services.plans import PlanService
from app.services.results import ResultService
from app.services.runs import RunService
from app.services.sessions import SessionService
from app.services.teams import TeamService
from app.services.uploads import UploadService
from app.services.webhooks import WebhookService

COOKIE = "s2a_session"  # of the pages; an Authorization header goes before it
JOB_TAG = r'(?:W/)?"v([0-9]{1,9})(?:-[0-9a-f]{1,64})?"'


@dataclass(frozen=True)
class Services:
    """Every service of one application."""

    keys: KeyService
    sessions: SessionService
    jobs: JobService
    runs: RunService
    results: ResultService
    plans: PlanService
    datasets: DatasetService
    uploads: UploadService
    models: ModelCatalog
    teams: TeamService
    devices: DeviceService
    audit: AuditService
    accuracy: AccuracyService
    webhooks: WebhookService
    idempotency: IdempotencyService
    health: HealthService
    feed: EventFeed
    limit: RateLimit
    stream_heartbeat_s: float


async def services(request: Request) -> Services:
    """The application's services."""
    wired: Services = request.app.state.services
    return wired


Wired = Annotated[Services, Depends(services)]


async def bearer(authorization: Annotated[str | None, Header(include_in_schema=False)] = None) -> str | None:
    """The token of the Authorization header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


Token = Annotated[str | None, Depends(bearer)]


def caller(request: Request, wired: Wired, token: Token) -> Caller:
    """Who holds the key, or the session of a page; 401 otherwise, 429 when it sends too fast."""
    session = request.cookies.get(COOKIE) if token is None else None
    if session:
        identity = wired.sessions.caller(session)
        wired.sessions.check_csrf(session, request.method, request.headers.get("x-csrf-token"))
    else:
        identity = wired.keys.authenticate(token)
    key_id = identity.key_id or identity.team_id
    request.scope.setdefault("state", {})["key_id"] = key_id
    structlog.contextvars.bind_contextvars(key_id=key_id)
    wired.limit.spend(key_id)
    return identity


async def reader(identity: Annotated[Caller, Depends(caller)]) -> Caller:
    """A caller who may look."""
    require(identity, "read")
    return identity


async def writer(identity: Annotated[Caller, Depends(caller)]) -> Caller:
    """A caller who may change things."""
    require(identity, "write")
    return identity


async def admin(identity: Annotated[Caller, Depends(caller)]) -> Caller:
    """A caller who runs the service."""
    require(identity, "admin")
    return identity


Authenticated = Annotated[Caller, Depends(reader)]
Writer = Annotated[Caller, Depends(writer)]
Admin = Annotated[Caller, Depends(admin)]

Limit = Annotated[int, Query(ge=1, le=200, description="Items of a page.")]
After = Annotated[str | None, Query(max_length=500, description="`next` of the page before.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key with the same body answers as the first time, for a day.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        pattern=rf"^(\*|{JOB_TAG})$",
        description="The ETag of the job the change is meant for.",
        examples=['"v3"'],
    ),
]
IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", max_length=1000, description="ETags the caller has already.")
]


def version_of(if_match: str | None) -> int | None:
    """The version that If-Match names, None for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    match = re.fullmatch(JOB_TAG, if_match.strip())
    return int(match[1]) if match else None
