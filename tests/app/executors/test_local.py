"""Local processes keep the executor's contract, are told from others with their number, and never outlive a kill."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.executors.base import Executor, ProcessState
from app.executors.local import LocalExecutor, boot_id
from tests.app.executors.contract import ExecutorContract, is_running, until, words


class TestLocal(ExecutorContract):
    """The contract, on this machine."""

    @pytest.fixture
    def executor(self) -> Iterator[LocalExecutor]:
        made = LocalExecutor(capacity_bytes=2**30, worker="here")
        yield made
        for attempt in ("att_1", "att_found"):
            if handle := made.find(attempt):
                made.kill(handle, 0.0)
        made.collect()

    @pytest.fixture
    def again(self) -> Callable[[], Executor]:
        return lambda: LocalExecutor(capacity_bytes=2**30, worker="here")


def test_another_process_with_the_number_is_not_alive_and_not_killed() -> None:
    handle = {"pid": psutil.Process().pid, "started": 0.0, "worker": "here", "boot": boot_id()}
    executor = LocalExecutor(worker="here")
    assert executor.look(handle).state == ProcessState.GONE
    assert executor.kill(handle, 0.0)


def test_a_process_of_an_earlier_start_of_the_machine_went_down_with_it() -> None:
    executor = LocalExecutor(worker="here")
    handle = {"pid": 1, "started": 0.0, "worker": "here", "boot": "another"}
    assert executor.look(handle).state == ProcessState.HOST_GONE
    assert executor.kill(handle, 0.0)


def test_a_process_of_another_machine_is_left_to_its_lease_and_nothing_here_is_killed_for_it(tmp_path: Path) -> None:
    executor = LocalExecutor(worker="here")
    ours = executor.launch("att_h", [sys.executable, "-c", "import time; time.sleep(90)"], "t", tmp_path / "l", None, 0)
    theirs = {**ours, "attempt": "att_there", "worker": "there", "boot": "another"}
    assert executor.look(theirs).state == ProcessState.UNKNOWN
    assert executor.kill(theirs, 0.0)
    assert executor.look(ours).state == ProcessState.RUNNING
    assert executor.kill(ours, 0.0)


def test_the_signal_that_ended_a_process_is_known(tmp_path: Path) -> None:
    executor = LocalExecutor(worker="here")
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    handle = executor.launch("att_s", [sys.executable, "-c", code], "t", tmp_path / "log", None, 0)
    assert until(executor, handle, ProcessState.GONE).exit_code == -11


def test_an_orphan_in_a_session_of_its_own_is_found_by_its_tag_after_its_parent_ended(tmp_path: Path) -> None:
    code = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(90)"], start_new_session=True)
print(child.pid, flush=True)
"""
    executor = LocalExecutor(worker="here")
    handle = executor.launch("att_orphan", [sys.executable, "-c", code], "t", tmp_path / "log", None, 0)
    child = int(words(tmp_path / "log", 1)[0])
    until(executor, handle, ProcessState.GONE)
    assert is_running(child)
    started = time.monotonic()
    assert executor.kill(handle, 1.0)
    assert not is_running(child)
    assert time.monotonic() - started < 5


def test_a_gpu_job_sees_its_device_only_and_no_setting_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S2A_DATABASE_URL", "postgresql://secret")
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ.get('S2A_DATABASE_URL'))"
    executor = LocalExecutor(worker="here")
    handle = executor.launch("att_g", [sys.executable, "-c", code], "t", tmp_path / "log", "here/cuda:3", 0)
    until(executor, handle, ProcessState.GONE)
    assert words(tmp_path / "log", 2) == ["3", "None"]


def test_what_a_launch_left_is_discarded(tmp_path: Path) -> None:
    executor = LocalExecutor(worker="here")
    handle = executor.launch(
        "att_d", [sys.executable, "-c", "import time; time.sleep(90)"], "t", tmp_path / "l", None, 0
    )
    executor.discard("att_d")
    assert executor.look(handle).state == ProcessState.GONE
    executor.discard("att_d")


def test_a_process_that_ends_as_it_begins_was_started_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another look collects it before its handle is made, and then nobody knows its number any more."""
    executor = LocalExecutor(worker="here")

    class Collected(dict):  # type: ignore[type-arg]
        def __setitem__(self, pid: int, child: subprocess.Popen[bytes]) -> None:
            child.wait()
            super().__setitem__(pid, child)

    monkeypatch.setattr(executor, "_children", Collected())
    handle = executor.launch("att_short", [sys.executable, "-c", "raise SystemExit(5)"], "t", tmp_path / "l", None, 0)
    look = executor.look(handle)
    assert (look.state, look.exit_code) == (ProcessState.GONE, 5)
