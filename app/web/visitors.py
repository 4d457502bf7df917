"""Who looks at a page: the session's cookie, its CSRF token, and where somebody without one is sent."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import Depends, HTTPException, Request, Response
from fastapi.routing import APIRoute

from app.api.dependencies import COOKIE, Wired
from app.errors import NotAuthorized, status_of
from app.services.keys import Caller
from app.services.sessions import LIFETIME_S
from app.text import refusals
from app.web.failures import failure
from app.web.rendering import root_of
from s2a_core.errors import InvalidInput, S2AError

Fields = dict[str, str]
Serve = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Visitor:
    """A signed-in person. csrf: what their forms carry; team: the name of theirs."""

    caller: Caller
    csrf: str
    team: str

    @property
    def can_write(self) -> bool:
        """Whether buttons that change things are shown."""
        return self.caller.may("write")

    @property
    def role(self) -> str:
        """What their key may do, in a word."""
        return "admin" if self.caller.is_admin else "member" if self.can_write else "read only"


def local_path(text: str | None) -> str:
    """A path of this site to go to after signing in; the first page for anything else."""
    parts = urlsplit(text or "/")
    is_local = not parts.scheme and not parts.netloc and parts.path.startswith("/") and "\\" not in (text or "")
    return parts.geturl() if is_local and not parts.path.startswith("//") else "/"


def guest_or_visitor(request: Request, wired: Wired) -> Visitor | None:
    """The session's holder, None for somebody who is not signed in."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    try:
        caller = wired.sessions.caller(token)
    except (NotAuthorized, ValueError):
        return None
    visitor = Visitor(caller, wired.sessions.csrf(token), wired.teams.own_name(caller))
    wired.limit.spend(caller.key_id or caller.team_id)
    request.state.visitor = visitor
    request.scope.setdefault("state", {})["key_id"] = caller.key_id
    return visitor


Guest = Annotated[Visitor | None, Depends(guest_or_visitor)]


async def signed_in(request: Request, visitor: Guest) -> Visitor:
    """The session's holder; everybody else is sent to sign in, and comes back."""
    if visitor is None:
        query = f"?{request.url.query}" if request.url.query else ""
        back = f"{request.url.path}{query}" if request.method == "GET" else "/"
        raise HTTPException(303, "sign in first", headers={"Location": f"/sign-in?next={quote(back, safe='/')}"})
    return visitor


SignedIn = Annotated[Visitor, Depends(signed_in)]


async def plain_fields(request: Request) -> Fields:
    """The text fields of a form."""
    form = await request.form(max_files=0, max_fields=100)
    fields = {name: value.strip() for name, value in form.items() if isinstance(value, str)}
    if wrong := refusals(fields):
        place, why = wrong[0]
        raise InvalidInput(f"{place[0]}: {why}")
    return fields


async def own_fields(request: Request, wired: Wired, visitor: SignedIn) -> Fields:
    """The same of a form that a page of this session sent; NotAllowed for any other."""
    fields = await plain_fields(request)
    wired.sessions.check_csrf(request.cookies.get(COOKIE, ""), "POST", fields.pop("csrf", None))
    return fields


PlainForm = Annotated[Fields, Depends(plain_fields)]
OwnForm = Annotated[Fields, Depends(own_fields)]


def remember(answer: Response, request: Request, token: str) -> None:
    """Set the cookie: never readable by a script, never sent from another site, encrypted where the page is."""
    answer.set_cookie(
        COOKIE,
        token,
        max_age=int(LIFETIME_S),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path=root_of(request) or "/",
    )


class PageRoute(APIRoute):
    """A route whose errors are pages too."""

    def get_route_handler(self) -> Serve:
        """The handler, with errors of s2a shown to a person."""
        serve = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await serve(request)
            except S2AError as error:
                return failure(request, status_of(error), error.message, error.code)

        return shown
