"""Behind a reverse proxy that shows the service under a path, whether it passes the path on or takes it off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.cli.service import server_config
from app.main import create_app
from app.settings import Settings

ROOT = "/tools/s2a"
LINK = re.compile(r'(?:href|src|action|formaction|data-events|data-suggest)="([^"#][^"]*)"')


@pytest.fixture(params=["takes it off", "passes it on"])
def proxied(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    app = create_app(Settings(data_dir=tmp_path, root_path=ROOT, run_scheduler=False, run_workers=False))

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(f"{ROOT}/"), f"{scope['path']} is another service's"
            if request.param == "takes it off":
                scope = {**scope, "path": scope["path"].removeprefix(ROOT)}
        await app(scope, receive, send)

    with TestClient(proxy) as client:
        client.key = app.state.services.keys.create("a", "admin")  # type: ignore[attr-defined]
        yield client


def test_every_link_and_redirect_stays_under_the_path(proxied: TestClient) -> None:
    key = proxied.key  # type: ignore[attr-defined]
    asked = proxied.get(f"{ROOT}/jobs?status=failed&after=", follow_redirects=False)
    assert asked.headers["location"] == f"{ROOT}/sign-in?next=/jobs%3Fstatus%3Dfailed%26after%3D"
    answer = proxied.post(f"{ROOT}/sign-in", data={"key": key, "next": "/jobs?status=failed"}, follow_redirects=False)
    assert answer.headers["location"] == f"{ROOT}/jobs?status=failed"
    assert f"Path={ROOT};" in answer.headers["set-cookie"]
    headers = {"Authorization": f"Bearer {key}"}
    body = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}
    made = proxied.post(f"{ROOT}/v1/jobs", json=body, headers=headers)
    assert proxied.get(made.headers["location"], headers=headers).status_code == 200
    assert proxied.get(f"{ROOT}/openapi.json").json()["servers"] == [{"url": ROOT}]
    seen, waiting = set(), [f"{ROOT}/"]
    while waiting:
        url = waiting.pop()
        seen.add(url)
        page = proxied.get(url)
        assert page.status_code == 200, url
        if page.headers["content-type"].startswith("text/html"):
            links = set(LINK.findall(page.text))
            assert all(link.startswith(f"{ROOT}/") for link in links), (url, links)
            pages = {link.split("?")[0] for link in links if "/v1/" not in link}
            waiting += sorted(link for link in pages - seen if not re.search("sign-out|pause|cancel|revoke", link))
            seen |= pages
    assert len(seen) >= 12


def test_a_visitor_cannot_choose_where_redirects_lead(proxied: TestClient) -> None:
    for prefix in ("/elsewhere", "//elsewhere.example", ""):
        answer = proxied.get(f"{ROOT}/jobs", headers={"X-Forwarded-Prefix": prefix}, follow_redirects=False)
        assert answer.headers["location"] == f"{ROOT}/sign-in?next=/jobs"


@pytest.mark.parametrize(("trusted", "is_secure"), [("testclient", True), ("10.0.0.1", False)])
def test_the_cookie_is_secure_where_a_trusted_proxy_ends_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: str, is_secure: bool
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    settings = Settings(data_dir=tmp_path, run_scheduler=False, run_workers=False)
    app = create_app(settings)
    config = server_config(app, settings)
    config.load()
    with TestClient(config.loaded_app) as client:  # type: ignore[arg-type]
        key = app.state.services.keys.create("a", "read")
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
        answer = client.post("/sign-in", data={"key": key}, headers=headers, follow_redirects=False)
    assert answer.headers["location"] == "/"
    assert ("secure" in answer.headers["set-cookie"].lower()) is is_secure
