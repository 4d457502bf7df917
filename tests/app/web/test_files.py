"""Everything a page loads comes from this service, the API's reference included."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from app.web.files import FILES, TAGS


def test_the_reference_loads_from_here_only_and_needs_no_key(service: TestClient) -> None:
    answer = service.get("/docs", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    loaded = re.findall(r"(?:src|href)=\"([^\"]+)\"", answer.text)
    assert {"/static/swagger-ui-bundle.js", "/static/swagger-ui.css", "/static/reference.js"} <= set(loaded)
    assert all(path.startswith("/") for path in loaded)
    for path in loaded:
        assert service.get(path, headers={"Authorization": ""}).status_code == 200, path
    assert service.get("/redoc").status_code == 404


def test_each_file_has_a_tag_of_its_own_and_is_not_sent_twice(service: TestClient) -> None:
    assert len(set(TAGS.values())) == len(FILES) > 4
    for name, tag in TAGS.items():
        assert service.get(f"/static/{name}", headers={"If-None-Match": tag}).status_code == 304
