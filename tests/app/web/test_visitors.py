"""Who may see a page, and where people are sent."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.web.visitors import local_path


@pytest.mark.parametrize(
    ("text", "path"),
    [(None, "/"), ("/jobs?status=failed", "/jobs?status=failed"), ("jobs", "/"), ("http://x/", "/"), ("//x", "/")],
)
def test_only_paths_of_this_site_are_gone_back_to(text: str | None, path: str) -> None:
    assert local_path(text) == path


def test_a_form_without_the_sessions_token_is_refused_as_a_page(pages: TestClient) -> None:
    answer = pages.post("/jobs", data={"model": "s2a_tiny"})
    assert answer.status_code == 403
    assert "load the page again" in answer.text


def test_a_broken_cookie_is_a_guest(pages: TestClient) -> None:
    pages.cookies.clear()
    pages.cookies.set("s2a_session", "x.y.z")
    assert pages.get("/jobs", follow_redirects=False).status_code == 303
