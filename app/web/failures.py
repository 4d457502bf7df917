"""Errors as pages, for a person in a browser; programs get the problem document."""

from __future__ import annotations

import http

from fastapi import Request, Response

from app.web.rendering import page

NOT_PAGES = ("/v1/", "/static/", "/openapi.json", "/metrics", "/livez", "/readyz")


def failure(request: Request, status: int, message: str, code: str) -> Response:
    """The page of an error."""
    return page(request, "error.html", status, title=http.HTTPStatus(status).phrase, message=message, code=code)


def for_a_person(request: Request, status: int, message: str, code: str) -> Response | None:
    """The page of an error where a browser asked for a page, None for everybody else."""
    is_page = request.method in ("GET", "HEAD") and not request.url.path.startswith(NOT_PAGES)
    if not is_page or "text/html" not in request.headers.get("accept", ""):
        return None
    words = "There is no such page." if status == 404 else message
    return failure(request, status, words, code)
