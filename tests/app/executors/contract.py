"""What every executor promises, as tests that run over each of them."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.executors.base import Executor, Look, ProcessState

# Says its token and the pid of a child in another session that ignores TERM, as a stray would.
STUBBORN = """
import os, signal, subprocess, sys, time
print(sys.stdin.readline().strip(), os.environ["S2A_ATTEMPT"], flush=True)
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(90)"
process = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
print(process.pid, flush=True)
time.sleep(90)
"""
POLITE = """
import signal, sys, time
def leave(*_):
    print("bye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
time.sleep(90)
"""


def words(log: Path, count: int) -> list[str]:
    """The first words of a log, once there are that many."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if log.is_file() and len(found := log.read_text().split()) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(log.read_text() if log.is_file() else "no log")


def is_running(pid: int) -> bool:
    """Whether a process runs, a zombie not counted."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def until(executor: Executor, handle: dict[str, Any], *lives: ProcessState) -> Look:
    """The first look that shows one of the lives."""
    deadline = time.monotonic() + 30
    while (look := executor.look(handle)).state not in lives:
        assert time.monotonic() < deadline, look
        time.sleep(0.05)
    return look


class ExecutorContract:
    """A subclass has fixtures `executor` and `again`, which makes another executor as a restarted service would."""

    def launch(self, executor: Executor, code: str, log: Path, attempt: str = "att_1") -> dict[str, Any]:
        device = executor.devices()[0]
        place = f"{device.worker}/{device.name}"
        return executor.launch(attempt, [sys.executable, "-c", code], "the-token", log, place, 2**20)

    def test_a_process_gets_its_token_and_its_tag_and_dies_with_all_it_started(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        log = tmp_path / "a" / "log"
        handle = self.launch(executor, STUBBORN, log)
        token, tag, child = words(log, 4)[:3]
        assert (token, tag) == ("the-token", "att_1")
        assert executor.look(handle).state == ProcessState.RUNNING
        assert executor.kill(handle, 0.2)
        assert executor.look(handle).state == ProcessState.GONE
        assert not is_running(int(child))

    def test_a_process_is_asked_before_it_is_killed(self, executor: Executor, tmp_path: Path) -> None:
        handle = self.launch(executor, POLITE, tmp_path / "log")
        words(tmp_path / "log", 1)
        started = time.monotonic()
        assert executor.kill(handle, 20.0)
        assert words(tmp_path / "log", 2) == ["ready", "bye"]
        assert time.monotonic() - started < 15

    def test_a_restarted_service_finds_its_processes_with_or_without_their_handles(
        self, executor: Executor, again: Callable[[], Executor], tmp_path: Path
    ) -> None:
        handle = self.launch(executor, POLITE, tmp_path / "log", "att_found")
        words(tmp_path / "log", 1)
        other = again()
        assert other.look(handle).state == ProcessState.RUNNING
        found = other.find("att_found")
        assert found is not None
        assert other.look(found).state == ProcessState.RUNNING
        assert other.find("att_none") is None
        assert other.kill(found, 10.0)
        assert other.look(handle).state == ProcessState.GONE
        assert other.find("att_found") is None

    def test_a_process_that_ended_is_gone(self, executor: Executor, tmp_path: Path) -> None:
        handle = self.launch(executor, "raise SystemExit(7)", tmp_path / "log")
        look = until(executor, handle, ProcessState.GONE)
        assert look.exit_code in (7, None)
        assert executor.kill(handle, 0.1)

    def test_a_process_that_was_stopped_is_killed_all_the_same(self, executor: Executor, tmp_path: Path) -> None:
        handle = self.launch(executor, POLITE, tmp_path / "log")
        words(tmp_path / "log", 1)
        psutil.Process(int(handle["pid"])).suspend()
        assert executor.look(handle).state == ProcessState.RUNNING
        assert executor.kill(handle, 0.2)
        assert not is_running(int(handle["pid"]))

    def test_devices_have_names_and_capacities(self, executor: Executor) -> None:
        found = executor.devices()
        assert len({(d.worker, d.name) for d in found}) == len(found) > 0
        assert all(d.capacity_bytes > 0 and d.kind for d in found)


def skip_without(module: str) -> Any:
    """A mark that skips where an extra is not installed."""
    if importlib.util.find_spec(module) is None:
        return pytest.mark.skip(reason=f"needs the extra s2a[{module}]")
    return pytest.mark.filterwarnings("default")
