"""A link tries again while the service is away, stops when it is refused, and lets nobody work past the fence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.runner.link import Link, Refused
from app.runner.spool import Spool


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.runner.link.RETRY_S", 0.0)


def link(tmp_path: Path, service: Callable[[httpx.Request], httpx.Response]) -> Link:
    return Link("http://s", "att", "t", Spool(tmp_path / "spool-1.jsonl"), 1, httpx.MockTransport(service))


def test_a_service_that_was_away_gets_every_event_once(tmp_path: Path) -> None:
    got: list[bytes] = []
    answers = iter([503, 0, 200])

    def service(request: httpx.Request) -> httpx.Response:
        status = next(answers)
        if status == 0:
            raise httpx.ConnectError("away")
        if status == 200:
            got.append(request.content)
        return httpx.Response(status, json={})

    runner = link(tmp_path, service)
    runner.say({"type": "epoch", "n": 1})
    assert not runner.flush()
    assert not runner.flush()
    assert runner.flush()
    assert runner.flush()
    assert len(got) == 1
    assert b'"epoch"' in got[0]


@pytest.mark.parametrize("status", [401, 409])
def test_a_refused_attempt_stops_whichever_call_was_refused(tmp_path: Path, status: int) -> None:
    runner = link(tmp_path, lambda _: httpx.Response(status, json={}))
    with pytest.raises(Refused):
        runner.heartbeat()
    with pytest.raises(Refused):
        runner.wait_while_fenced()
    with pytest.raises(Refused):
        runner.request()


def test_work_stops_at_the_fence_and_goes_on_when_the_service_is_back(tmp_path: Path) -> None:
    is_away = True

    def service(_: httpx.Request) -> httpx.Response:
        if is_away:
            raise httpx.ConnectError("away")
        return httpx.Response(200, json={})

    runner = link(tmp_path, service)
    runner.fence_s = 0.05
    runner.wait_while_fenced()
    time.sleep(0.06)
    assert not runner.heartbeat()
    assert runner.is_fenced
    runner.give_up_s = 0.1
    with pytest.raises(TimeoutError):
        runner.wait_while_fenced()
    is_away = False
    assert not runner.heartbeat()
    assert not runner.is_fenced
    runner.wait_while_fenced()


def test_an_event_the_service_never_takes_does_not_stop_the_others(tmp_path: Path) -> None:
    got: list[tuple[int, str]] = []

    def service(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if any(event["payload"].get("is_bad") for event in body["events"]):
            return httpx.Response(422, json={})
        got.extend((body["first"] + i, event["type"]) for i, event in enumerate(body["events"]))
        return httpx.Response(200, json={})

    runner = link(tmp_path, service)
    for number in range(3):
        runner.say({"type": "step", "is_bad": number == 1})
    assert runner.flush()
    assert got == [(0, "step"), (1, "log"), (2, "step")]


def test_files_and_the_last_word_are_sent_with_the_token_and_the_epoch(tmp_path: Path) -> None:
    seen: list[tuple[str, str, str, str]] = []

    def service(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path, request.headers["authorization"], request.headers["s2a-epoch"]))
        return httpx.Response(200, json={"stop": True})

    runner = link(tmp_path, service)
    (tmp_path / "plan.json").write_text("{}")
    runner.say({"type": "log"})
    runner.upload(tmp_path / "plan.json")
    runner.finish("succeeded", None, {})
    assert runner.heartbeat()
    base = "/v1/runner/attempts/att"
    wanted = [("PUT", "artifacts/plan.json"), ("POST", "events"), ("POST", "state"), ("POST", "heartbeat")]
    assert seen == [(method, f"{base}/{path}", "Bearer t", "1") for method, path in wanted]


def test_a_file_is_sent_whole_again_after_a_try_that_failed(tmp_path: Path) -> None:
    sent: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return httpx.Response(503 if len(sent) == 1 else 200, json={})

    path = tmp_path / "adapter.safetensors"
    path.write_bytes(bytes(range(256)) * 2**13)
    spool = Spool(tmp_path / "spool.jsonl")
    Link("http://service", "att_1", "t", spool, transport=httpx.MockTransport(answer)).upload(path)
    assert sent == [path.read_bytes()] * 2


def test_a_pause_waits_for_the_next_step_where_the_loop_runs(tmp_path: Path) -> None:
    runner = link(tmp_path, lambda _: httpx.Response(200, json={"stop": False, "pause": True}))
    runner.is_training = True
    assert not runner.heartbeat()
    assert runner.is_pausing
    assert not runner.is_stopping  # a signal that follows is the first one
    runner.is_training = False
    assert runner.heartbeat()
