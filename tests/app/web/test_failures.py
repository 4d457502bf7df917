"""A browser that goes astray gets a page, a program the problem document."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/nowhere", "/jobs/job_none/x/y", "/v2/jobs"])
def test_a_browser_sees_a_page_and_a_program_a_problem(pages: TestClient, path: str) -> None:
    seen = pages.get(path, headers=BROWSER)
    assert (seen.status_code, seen.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no page of this address." in seen.text
    assert "default-src 'none'" in seen.headers["content-security-policy"]
    for accept in ("*/*", "application/json"):
        answer = pages.get(path, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_api_answers_problems_to_browsers_too(pages: TestClient) -> None:
    for path in ("/v1/nowhere", "/v1/jobs/job_none", "/static/none.css"):
        answer = pages.get(path, headers=BROWSER)
        assert answer.status_code == 404
        assert answer.headers["content-type"] in ("application/problem+json", "text/html; charset=utf-8")
    assert pages.get("/v1/nowhere", headers=BROWSER).json()["code"] == "not_found"


def test_a_page_that_is_asked_wrongly_says_so_as_a_page(pages: TestClient) -> None:
    answer = pages.get("/jobs?limit=x&after=%ff", headers=BROWSER)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
