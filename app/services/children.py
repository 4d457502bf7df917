"""Child processes of the service: torch and files nobody trusts stay in them; they end in time or are killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.executors.devices import visible_devices
from app.runner.documents import progress_path
from app.settings import child_environment

POLL_S = 0.05
LOG_TAIL = 2000
PROCESS_GONE = "process_gone"  # the code of a child that ended without an answer


class Stopped(Exception):
    """The service ends, or the work is no longer its own; it is left to whoever comes next."""


def run(
    module: str,
    order: dict[str, Any],
    timeout_s: float,
    stop: threading.Event,
    keep: Callable[[str], None] = lambda doing: None,
    keep_every_s: float = 2.0,
) -> dict[str, Any]:
    """The answer of `python -m module`, which is given `order` and sees the device that its `place` names, if any.

    keep(what it does) is called while it runs, to renew a lease.

    A child that ends without an answer or runs out of time is answered for: {"status": None, "reason": ...}. Raises
    Stopped, with the child ended, when `stop` is set or keep() raises it. The child is told our process id, to end when
    we are killed.
    """
    with tempfile.TemporaryDirectory(prefix="s2a-") as folder:
        answer, log = Path(folder, "answer.json"), Path(folder, "log")
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(answer), "--parent", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**child_environment(), **visible_devices(order.get("place"))},
                start_new_session=True,
            )
        try:
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
                pipe.write(json.dumps(order).encode())
            is_late = _wait(child, timeout_s, stop, lambda: keep(_doing(answer)), keep_every_s)
        finally:
            _end(child)
        if is_late:
            return _gone("timeout", f"gave up after {timeout_s:g} s", {"timeout_s": timeout_s})
        if not answer.is_file():
            tail = log.read_bytes()[-LOG_TAIL:].decode("utf-8", "replace")
            details = {"exit_code": child.returncode, "log": tail}
            return _gone(PROCESS_GONE, f"its process ended with exit code {child.returncode}", details)
        return dict(json.loads(answer.read_text(encoding="utf-8")))


def _doing(answer: Path) -> str:
    """What a child says that it does; empty where it says nothing."""
    try:
        return progress_path(answer).read_text(encoding="utf-8")
    except OSError:
        return ""


def _gone(code: str, message: str, details: dict[str, Any]) -> dict[str, Any]:
    return {"status": None, "reason": {"code": code, "message": message, "details": details}}


def _wait(
    child: subprocess.Popen[bytes], timeout_s: float, stop: threading.Event, keep: Callable[[], None], every_s: float
) -> bool:
    """Until the child ends; True when it ran out of time."""
    start = renewed_at = time.monotonic()
    while child.poll() is None:
        now = time.monotonic()
        if stop.is_set():
            raise Stopped
        if now - start > timeout_s:
            return True
        if now - renewed_at > every_s:
            keep()
            renewed_at = now
        stop.wait(POLL_S)
    return False


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child's whole group, also what it left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
