"""Attempts as process groups on this machine. They outlive the service, so that a restart finds them running.

A process of an attempt is known by three signs: it descends from the attempt's first process, it is in its session, or
it carries the attempt's id in its environment. The service is a subreaper, so what loses its parent comes to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from app.executors.base import ATTEMPT_VARIABLE, DeviceReading, Look, ProcessState
from app.executors.devices import read_devices, visible_devices
from app.private import private_folder
from app.settings import child_environment, visible_gpus

KILL_WAIT_S = 5.0
PR_SET_CHILD_SUBREAPER = 36
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LocalExecutor:
    """Child processes in sessions of their own. A handle is pid, start and boot, so a reused pid is not ours.

    capacity_bytes: what the CPU device declares; half of the machine's memory if 0.
    """

    def __init__(self, capacity_bytes: int = 0, worker: str | None = None) -> None:
        self.worker = worker or socket.gethostname()
        self.capacity_bytes = capacity_bytes or psutil.virtual_memory().total // 2
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._exit_codes: dict[int, int] = {}
        self._lock = threading.Lock()
        _become_subreaper()

    def launch(
        self, attempt_id: str, command: list[str], token: str, log: Path, device: str | None, reserved_bytes: int
    ) -> dict[str, Any]:
        """Start a process; its output goes to `log`."""
        private_folder(log.parent)
        environment = {**child_environment(), **visible_devices(device), ATTEMPT_VARIABLE: attempt_id}
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        handle = self._handle(attempt_id, psutil.Process(child.pid))  # before anybody can collect what ends at once
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
            pipe.write(token.encode() + b"\n")
        with self._lock:
            self._children[child.pid] = child
        return {**handle, "device": device}

    def _handle(self, attempt_id: str, process: psutil.Process) -> dict[str, Any]:
        return {
            "executor": "local",
            "attempt": attempt_id,
            "worker": self.worker,
            "boot": boot_id(),
            "pid": process.pid,
            "started": process.create_time(),
        }

    def find(self, attempt_id: str) -> dict[str, Any] | None:
        """The oldest process with the attempt's tag that leads its session."""
        tagged = [p for p in _tagged(attempt_id) if _session(p.pid) == p.pid]
        return self._handle(attempt_id, min(tagged, key=lambda p: p.create_time())) if tagged else None

    def discard(self, attempt_id: str) -> None:
        """Kill what carries the attempt's tag, if anything does."""
        if handle := self.find(attempt_id):
            self.kill(handle, 0.0)

    def look(self, handle: dict[str, Any]) -> Look:
        """Whether that very process runs; collects it when it is ours and has ended. Unknown on another machine."""
        if handle.get("boot") not in (None, boot_id()):
            return Look(ProcessState.HOST_GONE if handle.get("worker") in (None, self.worker) else ProcessState.UNKNOWN)
        self.collect()
        pid = int(handle["pid"])
        if _is_same(pid, float(handle["started"])):
            return Look(ProcessState.RUNNING)
        return Look(ProcessState.GONE, self._exit_codes.get(pid))

    def collect(self) -> None:
        """Take the exit codes of children that have ended, so that none stays a zombie."""
        with self._lock:
            for pid, child in list(self._children.items()):
                if child.poll() is not None:
                    del self._children[pid]
                    self._exit_codes[pid] = child.returncode

    def kill(self, handle: dict[str, Any], grace_s: float) -> bool:
        """TERM to every process of the attempt, KILL after the grace; whether nothing of it remains.

        One of another machine is left to itself: it holds no memory here, and ends at the first refusal of its words.
        """
        if self.look(handle).state in (ProcessState.HOST_GONE, ProcessState.UNKNOWN):
            return True
        seen: set[int] = set()
        deadline = time.monotonic() + grace_s
        remaining = self._signal(handle, signal.SIGTERM, seen)
        while remaining and time.monotonic() < deadline:
            time.sleep(0.02)
            remaining = self._remaining(handle, seen)
        deadline = time.monotonic() + KILL_WAIT_S
        while remaining and time.monotonic() < deadline:
            remaining = self._signal(handle, signal.SIGKILL, seen)
            time.sleep(0.02)
        self.look(handle)
        return not self._remaining(handle, seen)

    def _signal(self, handle: dict[str, Any], number: int, seen: set[int]) -> list[psutil.Process]:
        remaining = self._remaining(handle, seen)
        for process in remaining:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        return remaining

    def _remaining(self, handle: dict[str, Any], seen: set[int]) -> list[psutil.Process]:
        """Processes of the attempt that are not zombies; collects those of them that became this process' children."""
        members = list(_members(handle))
        seen.update(p.pid for p in members)
        for pid in seen - self._children.keys():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self.look(handle)
        return [p for p in members if _is_running(p)]

    def devices(self) -> list[DeviceReading]:
        """This machine's memory, then those of its GPUs that this process may use."""
        return read_devices(self.worker, self.capacity_bytes, visible_gpus())


def boot_id() -> str:
    """Which start of this machine this is."""
    return BOOT_ID.read_text().strip() if BOOT_ID.is_file() else ""


def _become_subreaper() -> None:
    """Orphans of our children become our children, on Linux."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _is_same(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _tagged(attempt_id: str) -> Iterator[psutil.Process]:
    """Processes with the attempt's tag in their environment."""
    tag = f"{ATTEMPT_VARIABLE}={attempt_id}".encode()
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if tag in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                yield process


def _members(handle: dict[str, Any]) -> Iterator[psutil.Process]:
    """Every process of an attempt, by descent, session or tag."""
    pid, started = int(handle["pid"]), float(handle["started"])
    members: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(pid)
        if abs(first.create_time() - started) < 1:
            members = {p.pid: p for p in [first, *first.children(recursive=True)]}
    is_reused = not members and psutil.pid_exists(pid)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_younger = process.create_time() >= started - 1
            if not is_reused and is_younger and _session(process.pid) == pid:
                members[process.pid] = process
    if "attempt" in handle:
        members |= {p.pid: p for p in _tagged(str(handle["attempt"]))}
    members.pop(os.getpid(), None)
    yield from members.values()
