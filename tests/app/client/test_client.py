"""The client turns problems into errors and pages into one list."""

from __future__ import annotations

import httpx
import pytest

from app.client import Client, ProblemError


def test_every_page_is_listed_and_events_end_with_the_job() -> None:
    def service(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/jobs":
            is_second = "after" in request.url.params
            return httpx.Response(200, json={"items": [{"id": str(is_second)}], "next": None if is_second else "a"})
        after = int(request.url.params["after"])
        return httpx.Response(200, json={"items": [] if after else [{"seq": 1}], "has_ended": True})

    with Client("http://s", "k", httpx.MockTransport(service)) as client:
        assert [job["id"] for job in client.jobs()] == ["False", "True"]
        assert list(client.events("j", poll_s=0)) == [{"seq": 1}]


def test_a_problem_and_a_silent_service_are_errors_with_a_message() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"title": "no job x"}, headers={"content-type": "application/problem+json"})

    def silent(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(ProblemError, match="404: no job x"):
        Client("http://s", "k", httpx.MockTransport(refuse)).job("x")
    with pytest.raises(ProblemError, match="is `s2a serve` running"):
        Client("http://s", "k", httpx.MockTransport(silent)).submit(model="m")
