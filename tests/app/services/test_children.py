"""Children answer, end in time, and end with the service."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from app.services import children


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    code = (
        "import json, pathlib, sys, time\n"
        "order = json.load(sys.stdin)\n"
        "sys.stderr.write('working')\n"
        "time.sleep(order['s'])\n"
        "if order['ok']: pathlib.Path(sys.argv[1]).write_text(json.dumps({'status': 'ready'}))\n"
        "sys.exit(7)\n"
    )
    (tmp_path / "child_of_test.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "child_of_test"


def test_an_answer(module: str) -> None:
    assert children.run(module, {"s": 0, "ok": True}, 20, threading.Event()) == {"status": "ready"}


def test_no_answer_is_told_with_the_end_of_the_log(module: str) -> None:
    answer = children.run(module, {"s": 0, "ok": False}, 20, threading.Event())
    assert (answer["status"], answer["reason"]["code"]) == (None, "process_gone")
    assert answer["reason"]["details"] == {"exit_code": 7, "log": "working"}


def test_a_child_that_takes_too_long_is_ended_and_its_lease_is_kept_meanwhile(module: str) -> None:
    kept: list[float] = []
    answer = children.run(
        module, {"s": 60, "ok": True}, 1.0, threading.Event(), lambda: kept.append(time.monotonic()), 0.2
    )
    assert answer["reason"]["code"] == "timeout"
    assert len(kept) >= 2


def test_the_end_of_the_service_ends_it(module: str) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    start = time.monotonic()
    with pytest.raises(children.Stopped):
        children.run(module, {"s": 60, "ok": True}, 60, stop)
    assert time.monotonic() - start < 10
