"""Attempts as process groups on this machine. They outlive the service, so that a restart finds them running."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil

from app.settings import child_environment


class LocalExecutor:
    """Child processes in sessions of their own. A handle is the pid and its start, so a reused pid is not ours."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def launch(self, command: list[str], token: str, log: Path) -> dict[str, Any]:
        """Start a process; its output goes to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment(),
                start_new_session=True,
            )
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(token.encode() + b"\n")
        self._children[child.pid] = child
        return {"pid": child.pid, "started": psutil.Process(child.pid).create_time()}

    def is_alive(self, handle: dict[str, Any]) -> bool:
        """Whether that very process runs; collects it when it is ours and has ended."""
        pid = int(handle["pid"])
        child = self._children.get(pid)
        if child is not None and child.poll() is not None:
            del self._children[pid]
            return False
        try:
            process = psutil.Process(pid)
            is_same = abs(process.create_time() - float(handle["started"])) < 1
            return bool(is_same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def kill(self, handle: dict[str, Any]) -> None:
        """SIGKILL to the whole group, then wait until it is gone."""
        pid = int(handle["pid"])
        if not self.is_alive(handle):
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired, subprocess.TimeoutExpired):
            child = self._children.pop(pid, None)
            if child is not None:
                child.wait(5)
            else:
                psutil.Process(pid).wait(5)
