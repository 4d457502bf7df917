"""Datasets from names and uploads; what a job may name; removal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from app.services.datasets import DatasetDesk


def made(service: TestClient, source: dict[str, Any]) -> dict[str, Any]:
    return dict(service.post("/v1/datasets", json={"name": "d", "source": source}).json())


def test_a_named_dataset_is_looked_at_and_used(service: TestClient, tmp_path: Path) -> None:
    dataset = made(service, {"kind": "hub", "source": "digits"})
    assert (dataset["status"], dataset["reason"]["code"]) == ("validating", "validating")
    body = {"model": "s2a_tiny", "data": dataset["id"], "budget": "64MiB"}
    assert service.post("/v1/jobs", json=body).status_code == 409
    desk = DatasetDesk(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    taken = desk.take()
    assert taken is not None
    assert taken[1]["source"] == "digits"
    assert desk.take() is None
    desk.finish(taken[0], {"status": "ready", "summary": {"num_classes": 10}, "num_bytes": 5})
    job = service.post("/v1/jobs", json=body).json()
    assert (job["request"]["data"], job["request"]["dataset"]) == (dataset["id"], dataset["id"])
    refused = service.delete(f"/v1/datasets/{dataset['id']}")
    assert (refused.status_code, refused.json()["details"]["jobs"]) == (409, [job["id"]])
    service.post(f"/v1/jobs/{job['id']}/cancel")
    assert service.delete(f"/v1/datasets/{dataset['id']}").status_code == 204
    assert service.get(f"/v1/datasets/{dataset['id']}").status_code == 404


def test_a_validation_whose_worker_died_is_taken_again(service: TestClient, tmp_path: Path) -> None:
    made(service, {"kind": "hub", "source": "digits"})
    desk = DatasetDesk(service.app.state.database, tmp_path)  # type: ignore[attr-defined]
    first = desk.take()
    assert first is not None
    desk.release(first[0])
    assert desk.take() == first


def test_an_upload_larger_than_allowed_is_refused(service: TestClient) -> None:
    answer = service.post("/v1/datasets", json={"name": "d", "source": {"kind": "upload", "size": 2**55}})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
