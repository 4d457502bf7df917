"""A service on a fresh, migrated database, without a scheduler; and with one whose processes are pretended."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from app.executors.base import DeviceReading, Look, ProcessState
from app.main import create_app
from app.queue.scheduler import Scheduler
from app.settings import Settings
from app.store.database import Database
from tests.app.executors.cluster import ENVIRONMENT

# Ray reads these once in a process, as it is imported: by whichever test comes first, with a cluster or without one.
for name, value in ENVIRONMENT.items():
    os.environ.setdefault(name, value)

REQUEST = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}


class PretendExecutor:
    """Remembers what it was told to launch; a test says which processes are alive and how they ended."""

    def __init__(self) -> None:
        self.launched: list[dict[str, Any]] = []
        self.killed: list[int] = []
        self.dead: set[int] = set()
        self.looks: dict[int, Look] = {}
        self.readings: list[DeviceReading] = []
        self.is_unkillable = False
        self.at_kill: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def launch(
        self, attempt_id: str, command: list[str], token: str, log: Path, device: str | None, reserved_bytes: int
    ) -> dict[str, Any]:
        """Pid 1, 2, 3 ..."""
        with self._lock:
            pid = len(self.launched) + 1
            self.launched.append({"pid": pid, "attempt": attempt_id, "token": token, "device": device})
        return self._handle(pid, attempt_id, device)

    @staticmethod
    def _handle(pid: int, attempt_id: str, device: str | None) -> dict[str, Any]:
        return {"executor": "pretend", "pid": pid, "started": 0.0, "attempt": attempt_id, "device": device}

    def find(self, attempt_id: str) -> dict[str, Any] | None:
        """What was launched for it."""
        found = [p for p in self.launched if p["attempt"] == attempt_id and p["pid"] not in self.dead]
        return self._handle(found[-1]["pid"], attempt_id, found[-1]["device"]) if found else None

    def discard(self, attempt_id: str) -> None:
        """What was launched for it dies."""
        self.dead |= {p["pid"] for p in self.launched if p["attempt"] == attempt_id}

    def look(self, handle: dict[str, Any]) -> Look:
        """Alive until a test says otherwise."""
        pid = handle["pid"]
        return self.looks.get(pid) or Look(ProcessState.GONE if pid in self.dead else ProcessState.RUNNING)

    def kill(self, handle: dict[str, Any], grace_s: float) -> bool:
        """Remember it."""
        self.at_kill()
        if self.is_unkillable:
            return False
        if handle["pid"] not in self.dead:
            self.killed.append(handle["pid"])
        self.dead.add(handle["pid"])
        return True

    def devices(self) -> list[DeviceReading]:
        """What a test wrote there."""
        return self.readings


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file, made once: every test copies it instead of migrating its own."""
    path = tmp_path_factory.mktemp("migrated") / "s2a.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def settings(tmp_path: Path, migrated: Path) -> Settings:
    shutil.copyfile(migrated, tmp_path / "s2a.db")
    return Settings(data_dir=tmp_path, run_scheduler=False, run_workers=False, capacity_bytes=100 * 2**20)


@pytest.fixture
def service(settings: Settings) -> Iterator[TestClient]:
    app = create_app(settings)
    with TestClient(app) as client:
        client.headers["Authorization"] = f"Bearer {app.state.services.keys.create('team-a', 'admin')}"
        yield client


@pytest.fixture
def transport(service: TestClient) -> httpx.MockTransport:
    """A transport of `app.client.Client` that ends at the service in this process."""

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {k: v for k, v in request.headers.items() if k not in ("host", "content-length")}
        path = request.url.raw_path.decode()
        found = service.request(request.method, path, content=request.read(), headers=headers)
        return httpx.Response(found.status_code, headers=dict(found.headers), content=found.content)

    return httpx.MockTransport(answer)


@pytest.fixture
def executor() -> PretendExecutor:
    return PretendExecutor()


@pytest.fixture
def scheduler(service: TestClient, settings: Settings, executor: PretendExecutor) -> Scheduler:
    return Scheduler(service.app.state.database, settings, executor)  # type: ignore[attr-defined]


@pytest.fixture
def submit(service: TestClient) -> Any:
    """submit(**changes) -> the job's id."""

    def call(**changes: Any) -> str:
        answer = service.post("/v1/jobs", json={**REQUEST, **changes})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return call
