"""A service on a fresh, migrated database, without a scheduler; and with one whose processes are pretended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.queue.scheduler import Scheduler
from app.settings import Settings

REQUEST = {"model": "s2a_tiny", "data": "digits", "budget": "64MiB"}


class PretendExecutor:
    """Remembers what it was told to launch; a test says which processes are alive."""

    def __init__(self) -> None:
        self.launched: list[dict[str, Any]] = []
        self.killed: list[int] = []
        self.dead: set[int] = set()

    def launch(self, command: list[str], token: str, log: Path) -> dict[str, Any]:
        """Pid 1, 2, 3 ..."""
        pid = len(self.launched) + 1
        self.launched.append({"pid": pid, "attempt": command[command.index("--attempt") + 1], "token": token})
        return {"pid": pid, "started": 0.0}

    def is_alive(self, handle: dict[str, Any]) -> bool:
        """Until a test says otherwise."""
        return handle["pid"] not in self.dead

    def kill(self, handle: dict[str, Any]) -> None:
        """Remember it."""
        self.killed.append(handle["pid"])
        self.dead.add(handle["pid"])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, run_scheduler=False, capacity_bytes=100 * 2**20)


@pytest.fixture
def service(settings: Settings) -> Iterator[TestClient]:
    app = create_app(settings)
    with TestClient(app) as client:
        client.headers["Authorization"] = f"Bearer {app.state.services.keys.create('team-a', 'admin')}"
        yield client


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
