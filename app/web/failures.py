"""Errors as pages, for a person in a browser; programs get the problem document."""

from __future__ import annotations

import http

from fastapi import Request, Response

from app.web.rendering import page

TITLES = {403: "Not with this key", 404: "Nothing is here", 429: "Too fast", 500: "An error of ours", 503: "Not ready"}
NOT_PAGES = ("/v1/", "/static/", "/openapi.json", "/metrics", "/livez", "/readyz")


def failure(request: Request, status: int, message: str, code: str) -> Response:
    """The page of an error."""
    title = TITLES.get(status, http.HTTPStatus(status).phrase)
    return page(request, "error.html", status, status_code=status, title=title, message=message, code=code)


def for_a_person(request: Request, status: int, message: str, code: str) -> Response | None:
    """The page of an error where a browser asked for a page, None for everybody else."""
    is_page = request.method in ("GET", "HEAD", "POST") and not request.url.path.startswith(NOT_PAGES)
    if not is_page or "text/html" not in request.headers.get("accept", ""):
        return None
    words = "There is no page of this address." if status == 404 else message
    return failure(request, status, words, code)
