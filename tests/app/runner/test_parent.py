"""A process ends, with all it started, when the one that started it is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

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


def test_a_parent_that_died_before_the_watch_began_is_noticed() -> None:
    with orphan(parent=2**22) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        assert process.wait(20) != 0
        assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_nothing_ends_while_the_parent_lives() -> None:
    with orphan(parent=os.getpid()) as process:
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
        else:
            raise AssertionError("it ended")
