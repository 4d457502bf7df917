"""Pages that are not about one thing: signing in, the queue and predictions."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.api.dependencies import COOKIE, Wired
from app.errors import NotAuthorized
from app.web import comparison, datasets, files, jobs, plans, teams
from app.web.rendering import page, root_of
from app.web.visitors import Guest, OwnForm, PageRoute, PlainForm, SignedIn, local_path, remember
from s2a_core.errors import S2AError

WAITING_SHOWN = 100

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/sign-in")
def sign_in_page(request: Request, visitor: Guest, next: str = "/") -> Response:
    """Where a key is typed in."""
    if visitor is not None:
        return RedirectResponse(local_path(next), 303)
    return page(request, "sign_in.html", next=local_path(next), error="")


@router.post("/sign-in")
def sign_in(request: Request, wired: Wired, fields: PlainForm) -> Response:
    """Begin a session. SameSite keeps other sites from using it, Sec-Fetch-Site from beginning one."""
    back = local_path(fields.get("next"))
    try:
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise NotAuthorized("sign in on the page of this service, not from another site")
        wired.limit.spend(f"sign-in {request.client.host if request.client else ''}")
        token = wired.sessions.begin(fields.get("key", ""))
    except S2AError as error:
        message = error.message if fields.get("key") else "Paste a key: it begins with s2a_."
        return page(request, "sign_in.html", 401, next=back, error=message)
    answer = RedirectResponse(back, 303)
    remember(answer, request, token)
    return answer


@router.post("/sign-out")
def sign_out(request: Request, wired: Wired, fields: OwnForm) -> Response:
    """End the session, on this browser and for every copy of its cookie."""
    wired.sessions.end(request.cookies[COOKIE])
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE, path=root_of(request) or "/", httponly=True, samesite="strict")
    return answer


@router.get("/")
def queue_page(request: Request, wired: Wired, visitor: Guest) -> Response:
    """What runs where and what waits; for a guest, where to sign in."""
    if visitor is None:
        return page(request, "sign_in.html", next="/", error="")
    queue = wired.devices.queue(visitor.caller, WAITING_SHOWN)
    recent = wired.jobs.listed(visitor.caller, None, 12, None)["items"]
    return page(request, "queue.html", queue=queue, recent=recent, most=WAITING_SHOWN)


@router.get("/accuracy")
def accuracy_page(request: Request) -> Response:
    """The former address of the predictions."""
    return RedirectResponse(f"{root_of(request)}/predictions", 308)


@router.get("/predictions")
def predictions_page(request: Request, wired: Wired, visitor: SignedIn, after: str | None = None) -> Response:
    """How good predictions of peaks were."""
    return page(request, "predictions.html", summary=wired.accuracy.summary(visitor.caller, None, None, 50, after))


for _module in (files, comparison, jobs, plans, datasets, teams):  # /jobs/compare goes before /jobs/{job_id}
    router.include_router(_module.router)
