"""Every answer has an id and safe headers; bodies have limits; an error of ours is a problem too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings


def test_the_request_id_is_kept_or_made(service: TestClient) -> None:
    assert service.get("/livez", headers={"X-Request-ID": "abc-12345"}).headers["x-request-id"] == "abc-12345"
    made = service.get("/livez", headers={"X-Request-ID": "bad id\u00e9".encode("latin-1")}).headers["x-request-id"]
    assert len(made) == 16


def test_answers_have_safe_headers(service: TestClient) -> None:
    headers = service.get("/v1/jobs").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-cache"
    assert service.get("/v1/jobs/job_none").headers["cache-control"] == "no-store"


def test_a_body_that_is_too_large_is_refused_with_and_without_a_length(service: TestClient, settings: Settings) -> None:
    large = b" " * (settings.max_body_bytes + 1)

    def parts() -> Iterator[bytes]:
        yield large[:-1]
        yield b"  "

    for content in (large, parts()):
        answer = service.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert answer.headers["content-type"] == "application/problem+json"


def test_an_error_of_ours_is_a_problem_without_its_inside(service: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(service.app.state.services.jobs, "get", fail)  # type: ignore[attr-defined]
    answer = service.get("/v1/jobs/x")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret inside" not in answer.text


def test_nul_characters_in_an_address(service: TestClient) -> None:
    for address, place in (("/v1/jobs/a%00b", "path"), ("/v1/models?q=%00", "query")):
        answer = service.get(address)
        assert (answer.status_code, answer.json()["errors"][0]["in"]) == (422, place)
