"""Lists of datasets are filtered and typed."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_datasets(service: TestClient) -> None:
    service.post("/v1/datasets", json={"name": "d", "source": {"kind": "upload", "size": 3}})
    assert [d["name"] for d in service.get("/v1/datasets", params={"status": "uploading"}).json()["items"]] == ["d"]
    assert service.get("/v1/datasets", params={"status": "ready"}).json() == {"items": [], "next": None}
    assert service.get("/v1/datasets", params={"status": "odd"}).status_code == 422
