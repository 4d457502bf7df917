"""The page of datasets: upload images or weights in parts, name a directory or a hub, see what was found in each."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.api.dependencies import Wired
from app.web.rendering import page
from app.web.visitors import OwnForm, PageRoute, SignedIn
from s2a_core.errors import InvalidInput, S2AError

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/datasets")
def datasets_page(request: Request, wired: Wired, visitor: SignedIn, after: str | None = None) -> Response:
    """The datasets and how to add one."""
    return _list(request, wired, visitor, after=after)


@router.post("/datasets")
def create_dataset(request: Request, wired: Wired, visitor: SignedIn, fields: OwnForm) -> Response:
    """Name images that are there already; uploads come in parts, through the API."""
    source = fields.get("source", "")
    kind = "hub" if source.startswith("hf:") else "path"
    try:
        if not source or not fields.get("name"):
            raise InvalidInput("a dataset needs a name and where its images are")
        wired.datasets.create(visitor.caller, fields["name"][:100], {"kind": kind, "source": source[:1000]})
    except S2AError as error:
        return _list(request, wired, visitor, error=error.message, values=fields, status=422)
    return RedirectResponse("/datasets", 303)


@router.post("/datasets/{dataset_id}/remove")
def remove_dataset(wired: Wired, visitor: SignedIn, dataset_id: str, fields: OwnForm) -> Response:
    """Forget a dataset and its files."""
    wired.datasets.remove(visitor.caller, dataset_id)
    return RedirectResponse("/datasets", 303)


def _list(
    request: Request,
    wired: Wired,
    visitor: SignedIn,
    *,
    after: str | None = None,
    error: str = "",
    values: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    listed = wired.datasets.listed(visitor.caller, None, 50, after)
    return page(
        request,
        "datasets.html",
        status,
        datasets=listed["items"],
        next=listed["next"],
        error=error,
        values=values or {},
    )
