"""The runner's process: heartbeats beside the work, a refused attempt ends, a stopped one leaves its words on disk."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.runner import __main__ as runner
from app.runner.link import Link, Refused
from app.runner.spool import Spool, read_spool, spool_path


class Left(BaseException):
    """Instead of os._exit."""


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []

    def leave(spool: Spool, code: int) -> None:
        codes.append(code)
        raise Left

    monkeypatch.setattr(runner, "leave", leave)
    return codes


def answering(status: int, **document: Any) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(status, json=document))


def link(tmp_path: Path, transport: httpx.MockTransport) -> Link:
    return Link("http://s", "att", "t", Spool(tmp_path / "spool-1.jsonl"), 1, transport)


def test_a_service_that_wants_a_stop_or_refuses_ends_the_process(tmp_path: Path, exits: list[int]) -> None:
    with pytest.raises(Left):
        runner.beat(link(tmp_path, answering(200, stop=True)), 0.01, threading.Event())
    with pytest.raises(Left):
        runner.beat(link(tmp_path, answering(409)), 0.01, threading.Event())
    refused = link(tmp_path, answering(409))
    refused.say({"type": "log"})
    with pytest.raises(Left):
        runner.deliver(refused, threading.Event())
    assert exits == [0, runner.STALE_EXIT, runner.STALE_EXIT]


def test_the_work_is_done_and_its_last_word_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exits: list[int]
) -> None:
    seen: list[tuple[str, str, str]] = []

    def service(request: httpx.Request) -> httpx.Response:
        epoch = request.headers["S2A-Epoch"]
        seen.append((request.method, request.url.path.rsplit("/", 1)[-1], epoch))
        return httpx.Response(200, json={"renew_s": 100})

    monkeypatch.setattr("sys.stdin", io.StringIO("token\n"))
    monkeypatch.setattr(runner.signal, "signal", lambda *_: None)
    monkeypatch.setattr(runner, "Link", lambda *args: Link(*args, httpx.MockTransport(service)))

    def work(link: Link, output: Path) -> Any:
        link.say({"type": "epoch", "epoch": 1})
        return "succeeded", None, {"accuracy": 1.0}, None

    output = tmp_path / "job" / "output"
    argv = ["--attempt", "att", "--epoch", "7", "--url", "http://s", "--output", str(output)]
    assert runner.main(argv, work) == 0
    assert seen[0] == ("GET", "request", "7")
    assert seen[-1] == ("POST", "state", "7")
    assert [r["type"] for r in read_spool(spool_path(output, 7))] == ["epoch", "last_word"]


def test_an_attempt_that_is_refused_while_it_works_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exits: list[int]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("token\n"))
    monkeypatch.setattr(runner.signal, "signal", lambda *_: None)
    monkeypatch.setattr(runner, "Link", lambda *args: Link(*args, answering(200)))

    def work(link: Link, output: Path) -> Any:
        raise Refused("over")

    argv = ["--attempt", "a", "--epoch", "1", "--url", "http://s", "--output", str(tmp_path / "job" / "output")]
    with pytest.raises(Left):
        runner.main(argv, work)
    assert exits == [runner.STALE_EXIT]


def test_term_waits_for_the_next_step_when_the_loop_runs_and_for_nothing_else(tmp_path: Path, exits: list[int]) -> None:
    asked = link(tmp_path, answering(200))
    with pytest.raises(Left):
        runner.stop(asked)
    asked.is_training = True
    runner.stop(asked)
    assert asked.is_stopping
    with pytest.raises(Left):
        runner.stop(asked)
    assert exits == [runner.STOPPED_EXIT, runner.STOPPED_EXIT]


def test_term_ends_a_loop_that_waits_for_a_service_that_is_gone(tmp_path: Path, exits: list[int]) -> None:
    asked = link(tmp_path, answering(200))
    asked.is_training, asked.fence_s = True, -1.0
    assert asked.is_fenced
    with pytest.raises(Left):
        runner.stop(asked)
    assert exits == [runner.STOPPED_EXIT]
