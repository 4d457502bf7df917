"""Templates escape what people typed in, and every one of them can be read."""

from __future__ import annotations

from fastapi import Request

from app.web.rendering import HEADERS, _environment, page


def test_a_page_escapes_values_and_carries_the_policy() -> None:
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "state": {}})
    answer = page(request, "error.html", 404, title="Not Found", message="<script>", code="x")
    assert answer.status_code == 404
    assert b"&lt;script&gt;" in bytes(answer.body)
    assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]


def test_every_template_compiles() -> None:
    names = _environment.list_templates()
    assert len(names) >= 12
    for name in names:
        _environment.get_template(name)
