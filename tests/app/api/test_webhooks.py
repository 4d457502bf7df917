"""Webhooks that do not exist are not found; unknown events are refused."""

from __future__ import annotations

from fastapi.testclient import TestClient


def test_webhooks(service: TestClient) -> None:
    assert service.get("/v1/webhooks/hook_none").status_code == 404
    assert service.get("/v1/webhooks").json() == {"items": [], "next": None}
    assert service.post("/v1/webhooks", json={"url": "https://example.org", "events": ["step"]}).status_code == 422
