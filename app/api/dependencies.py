"""What endpoints are given: the services, and who is calling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from app.services.jobs import JobService
from app.services.keys import Caller, KeyService
from app.services.runs import RunService


@dataclass(frozen=True)
class Services:
    """Every service of one application."""

    keys: KeyService
    jobs: JobService
    runs: RunService


def services(request: Request) -> Services:
    """The application's services."""
    found: Services = request.app.state.services
    return found


Wired = Annotated[Services, Depends(services)]


def bearer(authorization: Annotated[str | None, Header()] = None) -> str | None:
    """The token of the Authorization header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


Token = Annotated[str | None, Depends(bearer)]


def caller(wired: Wired, token: Token) -> Caller:
    """Who holds the key; 401 otherwise."""
    return wired.keys.authenticate(token)


Authenticated = Annotated[Caller, Depends(caller)]
