"""Signing in, what a guest sees, headers, the queue, keys and predictions."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from app.models import Device, PredictionPair
from app.web.files import FILES
from tests.app.web.conftest import Send

PATHS = ("/", "/jobs", "/jobs/new", "/plans", "/datasets", "/keys", "/predictions")


def test_a_guest_sees_where_to_sign_in_and_comes_back_to_the_page(service: TestClient, key: str) -> None:
    assert "API key" in service.get("/").text
    answer = service.get("/plans", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/plans")
    assert "not known" in service.post("/sign-in", data={"key": "s2a_0_0"}).text
    answer = service.post("/sign-in", data={"key": key, "next": "/plans"}, follow_redirects=False)
    assert answer.headers["location"] == "/plans"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert key not in cookie


def test_signing_in_never_leads_to_another_site(service: TestClient, key: str) -> None:
    for next in ("https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"):
        answer = service.post("/sign-in", data={"key": key, "next": next}, follow_redirects=False)
        assert answer.headers["location"] == "/"


def test_another_site_cannot_begin_a_session(service: TestClient, key: str) -> None:
    answer = service.post("/sign-in", data={"key": key}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_every_page_is_strict_about_scripts_and_names_no_other_host(pages: TestClient) -> None:
    for path in PATHS:
        answer = pages.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?! src=\"/static/)|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text), path
        assert not re.search(r"(src|href|action)=\"(https?:)?//", answer.text), path
        assert answer.text.count("<h1") == 1, path


def test_static_files_are_cached_by_their_tag_and_nothing_else_is_there(pages: TestClient) -> None:
    assert {"s2a.css", "s2a.js", "mark.svg"} <= set(FILES)
    answer = pages.get("/static/s2a.css")
    assert answer.headers["content-type"].startswith("text/css")
    assert pages.get("/static/s2a.css", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert pages.get("/static/pages.py").status_code == 404
    for name in ("s2a.css", "s2a.js"):
        assert not re.search(rb"https?://(?!www\.w3\.org)", FILES[name])


def test_the_queue_shows_devices_with_their_memory_and_waiting_jobs_with_their_reason(
    pages: TestClient, send: Send
) -> None:
    with pages.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        session.add(Device(worker="w", kind="cuda", name="gpu-0", capacity_bytes=80 * 2**30, reserve_bytes=2**30))
    send("/jobs", model="s2a_tiny", data="digits", budget="64MiB")
    text = pages.get("/").text
    assert "gpu-0" in text
    assert "79 GiB</b> free of 80 GiB" in text
    assert "waits for the scheduler" in text
    assert "64 MiB" in text


def test_a_queue_that_is_longer_than_its_page_says_so(
    pages: TestClient, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.pages.WAITING_SHOWN", 2)
    for seed, is_longer in (("1", False), ("2", True), ("3", True)):
        send("/jobs", model="s2a_tiny", data="digits", budget="64MiB", seed=seed)
        assert ("The first 2 in their order" in pages.get("/").text) is is_longer


def test_a_key_is_made_shown_once_and_revoked(pages: TestClient, send: Send) -> None:
    answer = send("/keys", team="vision", name="laptop", scope="read")
    found = re.search(r"s2a_([0-9a-f]{8})_[0-9a-f]{48}", answer.text)
    assert answer.status_code == 201
    assert found
    assert found[0] not in pages.get("/keys").text
    assert "revoked" in send(f"/keys/{found[1]}/revoke").text
    assert send("/keys", team="", scope="nothing").status_code == 422


def test_signing_out_ends_the_session_and_needs_the_token(pages: TestClient, send: Send) -> None:
    assert pages.post("/sign-out", data={"csrf": "0" * 32}).status_code == 403
    assert "API key" in send("/sign-out").text
    assert pages.get("/jobs", follow_redirects=False).status_code == 303


def test_predictions_say_what_is_missing_and_then_shows_the_spread(pages: TestClient) -> None:
    assert "No pair yet" in pages.get("/predictions").text
    with pages.app.state.database.transaction() as session:  # type: ignore[attr-defined]
        for measured in (100, 98, 103):
            pair = {"model": "m", "adapter": "bias", "device": "cpu", "precision": "fp32", "source": "job"}
            session.add(PredictionPair(**pair, predicted_bytes=100, measured_bytes=measured))
    text = pages.get("/accuracy").text  # its former address
    assert "takes real steps" in text
    assert "safety margin" not in text
    assert text.count('<circle class="dot') == 3
    assert "2.00 %" in text


def test_a_session_calls_the_api_and_changes_need_its_token(pages: TestClient) -> None:
    assert pages.get("/v1/jobs").status_code == 200
    body = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
    assert pages.post("/v1/jobs", json=body).status_code == 403
    token = re.search(r'name="csrf-token" content="([0-9a-f]+)"', pages.get("/").text)
    assert token
    assert pages.post("/v1/jobs", json=body, headers={"X-CSRF-Token": token[1]}).status_code == 201


def test_the_style_sheet_and_script_are_small() -> None:
    own = [content for name, content in FILES.items() if not name.startswith("swagger-ui")]
    assert sum(map(len, own)) < 60_000
