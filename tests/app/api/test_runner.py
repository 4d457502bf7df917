"""The runner's endpoints are not part of the public documentation."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_they_are_hidden_and_refuse_an_unknown_attempt(service: TestClient) -> None:
    assert not [path for path in service.get("/openapi.json").json()["paths"] if "runner" in path]
    assert service.get("/v1/runner/attempts/att_x/request").status_code == 404
