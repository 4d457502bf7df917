"""Liveness and readiness need no key."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_are_open(service: TestClient, path: str) -> None:
    assert service.get(path, headers={"Authorization": ""}).json() == {"status": "ok"}
