"""Local processes get their token, are found again by another executor, and leave nothing when killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil

from app.executors.local import LocalExecutor

SLEEPER = (
    "import subprocess, sys; print(sys.stdin.readline().strip(), flush=True); "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    "print(child.pid, flush=True); child.wait()"
)


def lines(log: Path, count: int) -> list[str]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = log.read_text().split()
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_a_process_is_told_its_token_and_killed_with_its_children(tmp_path: Path) -> None:
    executor, log = LocalExecutor(), tmp_path / "a" / "log"
    handle = executor.launch([sys.executable, "-c", SLEEPER], "the-token", log)
    token, child = lines(log, 2)
    assert token == "the-token"
    assert executor.is_alive(handle)
    assert LocalExecutor().is_alive(handle)
    executor.kill(handle)
    assert not executor.is_alive(handle)
    deadline = time.monotonic() + 5
    while psutil.pid_exists(int(child)) and psutil.Process(int(child)).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_that_ended_or_another_with_its_number_is_not_alive(tmp_path: Path) -> None:
    executor = LocalExecutor()
    handle = executor.launch([sys.executable, "-c", "pass"], "t", tmp_path / "log")
    deadline = time.monotonic() + 20
    while executor.is_alive(handle):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not executor.is_alive({"pid": psutil.Process().pid, "started": 0.0})
