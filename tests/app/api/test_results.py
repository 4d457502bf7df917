"""Results of a job that does not exist are not found."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_results(service: TestClient) -> None:
    for path in ("attempts", "metrics", "checkpoints", "artifacts", "artifacts/x"):
        assert service.get(f"/v1/jobs/job_none/{path}").status_code == 404
