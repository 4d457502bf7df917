"""`s2a serve` as a process of its own on a folder, that tests can kill and start again; and who runs for whom."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

KEY = re.compile(r"s2a_[A-Za-z0-9]+_[A-Za-z0-9_-]+")
ENDED = ("succeeded", "failed", "cancelled")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := true():
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty once it has ended."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every other process whose command line or environment names the folder: service, runners, their children."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            texts = [*process.cmdline(), *process.environ().values()]
            if any(str(folder) in text for text in texts):
                found.append(process)
    return found


class RunningService:
    """One service process. `settings` become S2A_* variables beside `environment`; the key outlives restarts."""

    def __init__(self, folder: Path, command: list[str] | None = None, **settings: object) -> None:
        self.folder, self.settings, self.port, self.key = folder, settings, free_port(), ""
        self.command = command or [str(Path(sys.executable).with_name("s2a")), "serve"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "service.log"

    def start(self, key: str = "") -> RunningService:
        """Start it and wait until it is ready."""
        env = {**os.environ, **self.environment, "S2A_DATA_DIR": str(self.folder), "OMP_NUM_THREADS": "1"}
        env |= {f"S2A_{name.upper()}": str(value) for name, value in self.settings.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [*self.command, "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        self.key = key or self.key
        wait_for(self._is_ready, 60, f"the service is ready; its log: {self.log}")
        return self

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        if not self.key and (found := KEY.search(self.log.read_text())):
            self.key = found.group()
        with contextlib.suppress(httpx.TransportError):
            return bool(self.key) and httpx.get(f"{self.url}/readyz", timeout=2).is_success
        return False

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """End everything that names the folder, runners included."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        for process in processes_of(self.folder):
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self.process is not None:
            self.process.wait(10)

    def call(self, method: str, path: str, **content: Any) -> Any:
        """A request with the key; its JSON. Raises for an error status."""
        headers = {"Authorization": f"Bearer {self.key}", **content.pop("headers", {})}
        # Plain HTTP: reading certificates for every call would count as the service's time.
        answer = httpx.request(method, f"{self.url}{path}", headers=headers, timeout=30, verify=False, **content)
        assert not answer.is_error, answer.text
        return answer.json()

    def submit(self, **request: Any) -> str:
        """Queue a job; its id."""
        return str(self.call("POST", "/v1/jobs", json=request)["id"])

    def job(self, job: str) -> dict[str, Any]:
        """A job as the API shows it."""
        return dict(self.call("GET", f"/v1/jobs/{job}"))

    def events(self, job: str, after: int = 0) -> list[dict[str, Any]]:
        """Every event above a number."""
        found: list[dict[str, Any]] = []
        while batch := self.call("GET", f"/v1/jobs/{job}/events", params={"after": after})["items"]:
            found += batch
            after = batch[-1]["seq"]
        return found

    def wait_until(self, job: str, *statuses: str, seconds: float = 60) -> dict[str, Any]:
        """The job once it has one of the statuses."""

        def reached() -> dict[str, Any] | None:
            found = self.job(job)
            return found if found["status"] in statuses else None

        return dict(wait_for(reached, seconds, f"{job} is {' or '.join(statuses)}: {self.job(job)}"))

    def processes(self) -> list[psutil.Process]:
        """The service's own process and its helpers that are no attempts."""
        if self.process is None or self.process.poll() is not None:
            return []
        own = psutil.Process(self.process.pid)
        return [own, *(p for p in own.children(recursive=True) if "--attempt" not in command_of(p))]

    def runners(self) -> list[psutil.Process]:
        """The processes of attempts."""
        return [p for p in processes_of(self.folder) if "--attempt" in command_of(p)]
