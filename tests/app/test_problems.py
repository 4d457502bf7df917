"""Errors of the framework are problem documents like ours, and pointers say where."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from app.problems import pointer


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        (("body", "source", "upload", "size"), ("/source/upload/size", "body")),
        (("body", "a/b~c"), ("/a~1b~0c", "body")),
        (("body",), ("", "body")),
        (("query", "limit"), ("limit", "query")),
    ],
)
def test_pointers(place: tuple[str, ...], wanted: tuple[str, str]) -> None:
    assert pointer(place) == wanted


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PUT", "/v1/jobs", 405, "method_not_allowed"),
        ("POST", "/v1/jobs", 422, "invalid_request"),
    ],
)
def test_every_error_is_a_problem(service: TestClient, method: str, path: str, status: int, code: str) -> None:
    answer = service.request(method, path, content=b"{", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == path
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_without_a_database_the_answer_is_503(service: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError("select", {}, Exception("gone"))

    monkeypatch.setattr(service.app.state.services.health, "check", fail)  # type: ignore[attr-defined]
    answer = service.get("/readyz")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "no_database", "2")


def test_a_missing_key_is_asked_for(service: TestClient) -> None:
    answer = service.get("/v1/jobs", headers={"Authorization": ""})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
