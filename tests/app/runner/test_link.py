"""A link tries again while the service is away, and stops when it is refused."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.runner.link import Link, Refused


def test_a_service_that_was_away_gets_every_event_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.runner.link.time.sleep", lambda _: None)
    got: list[bytes] = []
    answers = iter([503, 0, 200])

    def service(request: httpx.Request) -> httpx.Response:
        status = next(answers)
        if status == 0:
            raise httpx.ConnectError("away")
        if status == 200:
            got.append(request.content)
        return httpx.Response(status, json={})

    link = Link("http://s", "att", "token", httpx.MockTransport(service))
    link.say({"type": "epoch", "n": 1})
    link.flush()
    link.flush()
    assert len(got) == 1
    assert b'"epoch"' in got[0]


@pytest.mark.parametrize("status", [401, 410])
def test_a_refused_attempt_stops(status: int) -> None:
    link = Link("http://s", "att", "t", httpx.MockTransport(lambda _: httpx.Response(status, json={})))
    with pytest.raises(Refused):
        link.heartbeat()


def test_files_and_the_last_word_are_sent_with_the_token(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str]] = []

    def service(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path, request.headers["authorization"]))
        return httpx.Response(200, json={"stop": True})

    link = Link("http://s", "att", "t", httpx.MockTransport(service))
    (tmp_path / "plan.json").write_text("{}")
    link.say({"type": "log"})
    link.upload(tmp_path / "plan.json")
    link.finish("succeeded", None, {})
    assert link.heartbeat()
    base = "/v1/runner/attempts/att"
    wanted = [("PUT", "artifacts/plan.json"), ("POST", "events"), ("POST", "state"), ("POST", "heartbeat")]
    assert seen == [(method, f"{base}/{path}", "Bearer t") for method, path in wanted]
