"""Children answer, end in time, and end with the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from app.services import children


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    code = (
        "import json, os, pathlib, sys, time\n"
        "order = json.load(sys.stdin)\n"
        "sys.stderr.write('working' + os.environ.get('CUDA_VISIBLE_DEVICES', '') * ('place' in order))\n"
        "pathlib.Path(sys.argv[1] + '.progress').write_text('site 3 of 9')\n"
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


def test_a_child_sees_the_device_that_was_reserved_for_it_and_no_other(module: str) -> None:
    answer = children.run(module, {"s": 0, "ok": False, "place": "host/cuda:3"}, 20, threading.Event())
    assert answer["reason"]["details"]["log"] == "working3"


def test_a_child_that_takes_too_long_is_ended_and_its_lease_is_kept_meanwhile(module: str) -> None:
    kept: list[str] = []
    answer = children.run(module, {"s": 60, "ok": True}, 1.0, threading.Event(), lambda doing: kept.append(doing), 0.2)
    assert answer["reason"]["code"] == "timeout"
    assert len(kept) >= 2
    assert kept[-1] in ("", "site 3 of 9")  # empty where its interpreter took longer to begin than it was given


def test_the_end_of_the_service_ends_it(module: str) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    start = time.monotonic()
    with pytest.raises(children.Stopped):
        children.run(module, {"s": 60, "ok": True}, 60, stop)
    assert time.monotonic() - start < 10


def test_work_that_is_no_longer_ours_ends(module: str) -> None:
    def lost(doing: str) -> None:
        raise children.Stopped

    start = time.monotonic()
    with pytest.raises(children.Stopped):
        children.run(module, {"s": 60, "ok": True}, 60, threading.Event(), lost, 0.1)
    assert time.monotonic() - start < 10


def test_a_child_ends_when_the_service_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import os, pathlib, time\n"
        "from app.runner.documents import serve\n"
        "def work(order):\n"
        "    part = pathlib.Path(order['pid'] + '.part')\n"
        "    part.write_text(str(os.getpid()))\n"
        "    part.rename(order['pid'])\n"
        "    time.sleep(60)\n"
        "serve(work, 'failed')\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(children.__file__).parents[2])]))
    pid = tmp_path / "pid"
    code = (
        "import threading; from app.services import children; "
        f"children.run('sleeper', {{'pid': {str(pid)!r}}}, 60, threading.Event())"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as service:
        deadline = time.monotonic() + 30
        while not pid.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        child = psutil.Process(int(pid.read_text()))
        service.send_signal(signal.SIGKILL)
    child.wait(5)
