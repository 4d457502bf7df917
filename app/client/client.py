"""A thin client of the REST API; errors of the service come back as ProblemError with its document."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx

from s2a_core.errors import S2AError

ENDED = ("succeeded", "failed", "cancelled")


class ProblemError(S2AError):
    """The service refused, or could not be reached; `details` is its problem document."""

    code = "service"
    exit_code = 2


class Client:
    """One service and one key. transport: for tests."""

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30, transport=transport
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _call(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **content)
        except httpx.TransportError as error:
            raise ProblemError(f"{self._http.base_url} does not answer ({error}); is `s2a serve` running?") from error
        if answer.is_error:
            is_problem = "json" in answer.headers.get("content-type", "")
            body = answer.json() if is_problem else {"title": answer.text[:200]}
            raise ProblemError(f"{answer.status_code}: {body.get('title', '')}", details=body)
        return answer

    def submit(self, **request: Any) -> dict[str, Any]:
        """Queue a job; the keywords are the fields of POST /v1/jobs."""
        return dict(self._call("POST", "/v1/jobs", json={k: v for k, v in request.items() if v is not None}).json())

    def jobs(self, status: str | None = None) -> Iterator[dict[str, Any]]:
        """Every job, newest first, page by page."""
        after: str | None = None
        while True:
            asked = {k: v for k, v in {"status": status, "after": after}.items() if v}
            page = self._call("GET", "/v1/jobs", params=asked).json()
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    def job(self, job_id: str) -> dict[str, Any]:
        """One job."""
        return dict(self._call("GET", f"/v1/jobs/{job_id}").json())

    def ask(self, job_id: str, what: str) -> dict[str, Any]:
        """cancel, pause or resume."""
        return dict(self._call("POST", f"/v1/jobs/{job_id}/{what}").json())

    def events(self, job_id: str, after: int = 0, poll_s: float = 0.5) -> Iterator[dict[str, Any]]:
        """Events of a job as they come, until it has ended."""
        while True:
            answer = self._call("GET", f"/v1/jobs/{job_id}/events", params={"after": after}).json()
            for event in answer["items"]:
                after = event["seq"]
                yield event
            if answer["has_ended"] and not answer["items"]:
                return
            time.sleep(poll_s)

    def artifact(self, job_id: str, name: str) -> bytes:
        """A file of a job."""
        return self._call("GET", f"/v1/jobs/{job_id}/artifacts/{name}").content

    def create_key(self, team: str, scope: str = "user") -> str:
        """A key for a team; needs an admin's key."""
        return str(
            self._call(
                "POST", "/v1/keys", json={"team": team, "scopes": ["admin"] if scope == "admin" else ["read", "write"]}
            ).json()["key"]
        )
