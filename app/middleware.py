"""What every request gets: an id, a log line, a limit of its body, and the headers of its answer."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_plus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import respond
from app.settings import Settings
from app.text import refusal
from s2a_core.sizes import format_bytes

log = structlog.get_logger("s2a.access")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
UPLOAD_PART = re.compile(r"/v1/uploads/[^/]+$")
RUNNER_FILE = re.compile(r"/v1/runner/attempts/[^/]+/artifacts/[^/]+")
RUNNER = re.compile(r"/v1/runner/")
RUNNER_BODY_BYTES = 64 * 2**20
QUIET = ("/livez", "/readyz", "/metrics")
Observe = Callable[[str, str, int, float], None]

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
NO_CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'"


class RequestMiddleware:
    """ASGI middleware around the whole application. observe(method, route, status, seconds) is told of each answer."""

    def __init__(self, app: ASGIApp, settings: Settings, observe: Observe) -> None:
        self.app, self.settings, self.observe = app, settings, observe

    def limit_bytes(self, path: str) -> int:
        """The largest body a path takes."""
        if UPLOAD_PART.fullmatch(path):
            return self.settings.max_part_bytes
        if RUNNER_FILE.fullmatch(path):
            return self.settings.max_artifact_bytes
        return RUNNER_BODY_BYTES if RUNNER.match(path) else self.settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        root = self.settings.root_path
        if root and (scope["path"] == root or scope["path"].startswith(f"{root}/")):  # a proxy that passes it on
            scope["path"] = scope["path"].removeprefix(root) or "/"
        scope.setdefault("state", {}).update(request_id=request_id, root_path=root)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        answer = _Answer(send, request_id, root)
        start = time.perf_counter()
        try:
            await self._serve(scope, headers, receive, answer)
        finally:
            self._log(scope, answer.status, time.perf_counter() - start)

    async def _serve(self, scope: Scope, headers: Headers, receive: Receive, answer: _Answer) -> None:
        limit = self.limit_bytes(scope["path"])
        if wrong := unstorable(scope):
            title = f"{wrong[0]['in']}: {wrong[0]['detail']}"
            await respond(Request(scope), 422, "invalid_request", title, errors=wrong)(scope, receive, answer)
            return
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            await self._too_large(scope, receive, answer, limit)
            return
        try:
            await self.app(scope, _bounded(receive, limit), answer)
        except ClientDisconnect:
            log.info("the client went away", path=scope["path"])
        except Exception:  # the request's boundary: the log has the traceback under the request's id
            if answer.status:
                raise
            log.exception("unexpected error", path=scope["path"])
            title = "an error of ours; the log has it under this request id"
            await respond(Request(scope), 500, "internal_error", title)(scope, receive, answer)

    @staticmethod
    async def _too_large(scope: Scope, receive: Receive, answer: _Answer, limit: int) -> None:
        title = f"the body is larger than {format_bytes(limit)}"
        details = {"max_bytes": limit}
        refused = respond(Request(scope), 413, "too_large", title, details=details, headers={"Connection": "close"})
        await refused(scope, receive, answer)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self.observe(scope["method"], route, status, seconds)
        if route not in QUIET:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(seconds * 1e3, 2),
                key_id=scope.get("state", {}).get("key_id"),
            )


def unstorable(scope: Scope) -> list[dict[str, str]]:
    """What in a request's address and headers cannot be stored, as a problem's errors; schemas look at bodies."""
    query = unquote_plus(scope.get("query_string", b"").decode("latin-1"))
    headers = "".join(value.decode("latin-1") for _, value in scope["headers"])
    places = {"path": scope["path"], "query": query, "header": headers}
    return [{"in": place, "detail": why} for place, text in places.items() if (why := refusal(text))]


class _Answer:
    """A `send` that adds the headers every answer carries and remembers the status."""

    def __init__(self, send: Send, request_id: str, root: str) -> None:
        self._send, self._request_id, self._root = send, request_id, root
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            if self._root and headers.get("location", "").startswith("/"):
                headers["location"] = self._root + headers["location"]
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if not headers.get("content-type", "").startswith("text/html"):
                headers.setdefault("content-security-policy", NO_CONTENT_POLICY)
            if "cache-control" not in headers:
                headers["cache-control"] = "no-cache" if "etag" in headers else "no-store"
        await self._send(message)


def _bounded(receive: Receive, limit: int) -> Callable[[], Awaitable[Any]]:
    """A `receive` that stops a body without a declared length at the limit."""
    seen = 0

    async def read() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, f"the body is larger than {format_bytes(limit)}")
        return message

    return read
