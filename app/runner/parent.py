"""Ending with the process that started this one, also when that one was killed and could say nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import psutil

PARENT_S = 0.25  # how often the process that started this one is looked for
ORPHANED_EXIT = 143


def end_with_parent(parent: int | None = None) -> None:
    """End this process and all it started when its parent dies.

    parent: the process that started this one, as it said itself, in case it is dead by now.
    """
    expected = os.getppid() if parent is None else parent

    def watch() -> None:
        while os.getppid() == expected:
            time.sleep(PARENT_S)
        end_everything()

    threading.Thread(target=watch, daemon=True).start()


def end_everything() -> None:
    """SIGKILL to every descendant of this process, then to its group, then its end."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(ORPHANED_EXIT)
