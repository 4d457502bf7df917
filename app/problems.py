"""Every error as an RFC 9457 document: code, title, status, request id, and pointers into what was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from starlette.exceptions import HTTPException

from app.errors import InProgress, TooManyRequests, status_of
from app.responses import JsonAnswer
from app.store.refusals import refusal_of
from s2a_core.errors import S2AError

MEDIA_TYPE = "application/problem+json"
Serve = Callable[[Request, Exception], Coroutine[Any, Any, Response]]
Shown = Callable[[Request, int, str, str], Response | None]
log = structlog.get_logger("s2a.api")

# What a title says for errors that Starlette or FastAPI raise themselves.
_CODES = {404: "not_found", 405: "method_not_allowed", 400: "bad_request", 413: "too_large", 415: "unsupported_media"}


def problem(
    status: int,
    code: str,
    title: str,
    details: dict[str, Any] | None = None,
    *,
    errors: list[dict[str, Any]] | None = None,
    request_id: str = "",
    instance: str = "",
) -> dict[str, Any]:
    """The document. errors: one {pointer, detail} for each place in the request that is wrong."""
    return {
        "type": f"urn:s2a:error:{code}",
        "title": title,
        "status": status,
        "code": code,
        "details": details or {},
        "errors": errors or [],
        "request_id": request_id,
        "instance": instance,
    }


def install(app: FastAPI, shown: Shown = lambda request, status, message, code: None) -> None:
    """Make every error of this application a problem document; shown: the page that a browser gets instead, or None."""

    def or_page(serve: Serve) -> Serve:
        async def answer(request: Request, error: Exception) -> Response:
            response = await serve(request, error)
            problem_body = json.loads(bytes(response.body)) if response.status_code >= 400 else {}
            return (
                shown(request, response.status_code, problem_body["title"], problem_body["code"]) or response
                if problem_body
                else response
            )

        return answer

    app.add_exception_handler(S2AError, _known)
    app.add_exception_handler(RequestValidationError, or_page(_malformed))
    app.add_exception_handler(HTTPException, or_page(_http))
    app.add_exception_handler(DataError, _unstorable)
    app.add_exception_handler(UnicodeEncodeError, _unstorable)
    for refused in (DBAPIError, NoConnectionLeft, OSError):
        app.add_exception_handler(refused, or_page(_refused))


def respond(request: Request, status: int, code: str, title: str, **parts: Any) -> JsonAnswer:
    """The answer that carries the document; parts: of `problem`."""
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    headers |= parts.pop("headers", None) or {}
    state = request.scope.get("state") or {}
    body = problem(status, code, title, request_id=str(state.get("request_id", "")), instance=request.url.path, **parts)
    return JsonAnswer(body, status, headers=headers, media_type=MEDIA_TYPE)


async def _known(request: Request, error: Exception) -> JsonAnswer:
    assert isinstance(error, S2AError)
    status = status_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, TooManyRequests | InProgress):
        headers["Retry-After"] = str(max(1, round(float(error.details.get("retry_after_s", 1)))))
    if status == 416:
        headers["Content-Range"] = f"bytes */{error.details.get('num_bytes', '*')}"
    if status >= 500:
        log.error("failed", code=error.code, error=error.message)
    return respond(request, status, error.code, error.message, details=error.details, headers=headers)


def pointer(place: tuple[Any, ...]) -> tuple[str, str]:
    """(JSON pointer into the body, or name of the parameter; what kind of place it is)."""
    kind, *rest = place or ("body",)
    if kind == "body":
        parts = [str(part).replace("~", "~0").replace("/", "~1") for part in rest]
        return ("/" + "/".join(parts) if parts else ""), "body"
    return ".".join(str(part) for part in rest), str(kind)


async def _malformed(request: Request, error: Exception) -> JsonAnswer:
    assert isinstance(error, RequestValidationError)
    errors = []
    for each in error.errors():
        where, kind = pointer(tuple(each["loc"]))
        named = "pointer" if kind == "body" else "parameter"
        errors.append({named: where, "in": kind, "detail": each["msg"].removeprefix("Value error, ")})
    first = errors[0] if errors else {"detail": "the request is malformed"}
    place = first.get("pointer") or first.get("parameter")
    title = f"{place}: {first['detail']}" if place else str(first["detail"])
    return respond(request, 422, "invalid_request", title, errors=errors)


async def _http(request: Request, error: Exception) -> JsonAnswer:
    assert isinstance(error, HTTPException)
    status = error.status_code
    code = _CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
    return respond(request, status, code, str(error.detail), headers=dict(error.headers or {}))


async def _unstorable(request: Request, error: Exception) -> JsonAnswer:
    log.warning("unstorable", error=type(error).__name__)
    return respond(request, 422, "unstorable", "a value in the request cannot be stored: too large, or not text")


async def _refused(request: Request, error: Exception) -> JsonAnswer:
    """503 where a database or a disk refuses what it may take later; every other error of theirs is one of ours."""
    refusal = refusal_of(error)
    if refusal is None:
        raise error
    log.error("refused", code=refusal.code, error=str(getattr(error, "orig", error)))
    return respond(request, 503, refusal.code, refusal.message, headers={"Retry-After": str(refusal.retry_after_s)})
