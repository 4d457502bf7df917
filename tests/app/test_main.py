"""The application answers in problem documents and makes its first key once."""

from __future__ import annotations

from fastapi.testclient import TestClient

from app.main import create_app, prepare
from app.settings import Settings


def test_the_first_key_is_made_once(settings: Settings) -> None:
    app = create_app(settings)
    assert (prepare(app) or "").startswith("s2a_")
    assert prepare(app) is None
    app.state.database.close()


def test_errors_are_problem_documents(service: TestClient) -> None:
    for answer, status in (
        (service.get("/v1/jobs/job_none"), 404),
        (service.post("/v1/jobs", json={"model": "m"}), 422),
        (service.post("/v1/jobs", json={"model": "m", "data": "d", "budget": "lots"}), 422),
        (service.get("/nowhere"), 404),
        (service.get("/v1/jobs", headers={"Authorization": "Bearer wrong"}), 401),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"]


def test_the_api_documentation_is_open_and_names_the_contracts_paths(service: TestClient) -> None:
    paths = service.get("/openapi.json", headers={"Authorization": ""}).json()["paths"]
    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/events", "/v1/keys", "/livez", "/readyz"} <= set(paths)
