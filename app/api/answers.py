"""How endpoints answer: with an ETag, with 304, or once per Idempotency-Key; and the problems an operation declares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from fastapi.responses import Response

from app.api.dependencies import Services
from app.problems import MEDIA_TYPE
from app.responses import JsonAnswer
from app.services.keys import Caller

Responses = dict[int | str, dict[str, Any]]

MEANINGS = {
    400: "The request cannot be read.",
    401: "No key, a wrong, an expired or a revoked one.",
    403: "The key has not the scope, or may not name that directory.",
    404: "No such thing, or it is another team's.",
    409: "Not in this state; or a request with the same Idempotency-Key is being served.",
    410: "Gone.",
    412: "It has changed since the ETag of If-Match.",
    413: "The body is larger than its limit.",
    416: "The file has no such range.",
    422: "The input is wrong: `errors` points at it; or the Idempotency-Key came with another request.",
    429: "The key sends too fast: wait for Retry-After seconds.",
    503: "The database or a disk refuses it at the moment: try again after Retry-After seconds.",
}
# Every operation that takes a key may answer so.
COMMON = (400, 401, 413, 422, 429, 503)


def problems(*statuses: int) -> Responses:
    """The declaration of an operation's problems, for `responses=`; the common ones included."""
    reference = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses: Responses = {}
    for status in sorted({*COMMON, *statuses}):
        responses[status] = {"description": MEANINGS[status], "content": reference}
    if 429 in responses:
        responses[429]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return responses


def cached(*statuses: int) -> Responses:
    """The same for an operation that answers 304 to If-None-Match."""
    return {304: {"description": "Not modified: the caller has it."}, **problems(*statuses)}


def etag_of(document: Any) -> str:
    """A strong ETag of a document."""
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return f'"{hashlib.sha256(content).hexdigest()[:24]}"'


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether the caller's If-None-Match names the tag; compared weakly."""
    if not if_none_match:
        return False
    given = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return "*" in given or tag.removeprefix("W/") in given


def tagged(document: Any, if_none_match: str | None = None, tag: str | None = None, status: int = 200) -> Response:
    """The document with its ETag, or 304 when the caller has it."""
    tag = tag or etag_of(document)
    if is_known(tag, if_none_match):
        return Response(status_code=304, headers={"ETag": tag})
    return JsonAnswer(document, status, headers={"ETag": tag})


def version_tag(document: dict[str, Any]) -> str:
    """The ETag of a job: its version, which If-Match compares, and its content where that moves by itself."""
    is_explained = document["status"] == "queued" and document["reason"]["code"] != "waiting"  # by every pass anew
    moves = is_explained or document["estimated_finish_at"] is not None
    content = f"-{etag_of(document)[1:13]}" if moves else ""
    return f'"v{document["version"]}{content}"'


def once(
    wired: Services,
    caller: Caller,
    key: str | None,
    request: Any,
    act: Callable[[], dict[str, Any]],
    location: str,
    status: int = 201,
) -> Response:
    """The answer of a request that makes something, once per Idempotency-Key; location: with {id} of what was made."""
    made, is_replay = wired.idempotency.once(caller, key, request, status, act)
    headers = {"Location": location.format(id=made["id"])}
    if "version" in made:
        headers["ETag"] = version_tag(made)
    if is_replay:
        headers["Idempotency-Replayed"] = "true"
    return JsonAnswer(made, status, headers=headers)
