"""The page is one file that loads nothing from elsewhere."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient


def test_the_page_is_open_and_names_no_other_origin(service: TestClient) -> None:
    answer = service.get("/", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"https?://", answer.text)
