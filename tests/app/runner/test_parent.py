"""A process ends, with all it started, when the one that started it is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.app.executors.contract import is_running

ROOT = Path(__file__).parents[3]
CODE = (
    "import subprocess, sys, time\n"
    "from app.runner.parent import end_with_parent\n"
    "grandchild = subprocess.Popen(['sleep', '60'])\n"
    "print(grandchild.pid, flush=True)\n"
    "end_with_parent(int(sys.argv[1]))\n"
    "time.sleep(60)\n"
)


def orphan(parent: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(parent)], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for_end(pid: int, seconds: float = 10.0) -> None:
    """Until no such process runs: SIGKILL is sent at once, but a busy machine delivers it later."""
    deadline = time.monotonic() + seconds
    while is_running(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)


def test_a_parent_that_died_before_the_watch_began_is_noticed() -> None:
    with orphan(parent=2**22) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        assert process.wait(20) != 0
        wait_for_end(grandchild)


def test_nothing_ends_while_the_parent_lives() -> None:
    with orphan(parent=os.getpid()) as process:
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
        else:
            raise AssertionError("it ended")
