"""The catalogue answers 304 to who has it."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_catalog(service: TestClient) -> None:
    for path in ("/v1/models?q=tiny", "/v1/devices", "/v1/queue", "/v1/predictions", "/v1/accuracy"):
        first = service.get(path)
        assert first.status_code == 200
        assert service.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
