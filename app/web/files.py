"""Files that pages load, served from here: our own, and Swagger UI from the wheel of fastapi-offline."""

from __future__ import annotations

import mimetypes
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from app.api.answers import etag_of, is_known
from app.errors import NotFound
from app.web.rendering import STATIC, page
from app.web.visitors import PageRoute

router = APIRouter(include_in_schema=False, route_class=PageRoute)
SWAGGER = files("fastapi_offline").joinpath("static")
FILES = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.name.endswith((".css", ".js", ".svg"))}
FILES |= {name: SWAGGER.joinpath(name).read_bytes() for name in ("swagger-ui-bundle.js", "swagger-ui.css")}
TAGS = {name: etag_of(content.hex()) for name, content in FILES.items()}


@router.get("/static/{name}")
def static_file(request: Request, name: str) -> Response:
    """A style sheet, script or picture of the pages."""
    content = FILES.get(name)
    if content is None:
        raise NotFound(f"no file {name[:100]}")
    headers = {"ETag": TAGS[name], "Cache-Control": "no-cache"}
    if is_known(TAGS[name], request.headers.get("if-none-match")):
        return Response(status_code=304, headers=headers)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(content, media_type=kind, headers=headers)


@router.get("/docs")
def reference(request: Request) -> Response:
    """The API's reference, to read and to try."""
    return page(request, "reference.html")
