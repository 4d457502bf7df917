"""Work that a thread of the service does: one piece at a time, given back when the service stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.services import children
from app.services.background import Background
from app.settings import Settings


class WorkQueue:
    def __init__(self) -> None:
        self.said: list[Any] = []
        self.work = [("w1", {"a": 1})]

    def take(self) -> tuple[str, dict[str, Any]] | None:
        return self.work.pop() if self.work else None

    def keep(self, work_id: str) -> None:
        self.said.append(("keep", work_id))

    def finish(self, work_id: str, answer: dict[str, Any]) -> None:
        self.said.append(("finish", work_id, answer["status"]))

    def release(self, work_id: str) -> None:
        self.said.append(("release", work_id))


@pytest.fixture
def background(service: TestClient, settings: Settings) -> Background:
    state = service.app.state  # type: ignore[attr-defined]
    return Background(state.database, settings, state.services.uploads)


def test_one_piece_of_work(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "run", lambda *_: {"status": "ready"})
    queue = WorkQueue()
    assert background.one(queue, "m", 1.0, lambda order: order)
    assert not background.one(queue, "m", 1.0, lambda order: order)
    assert queue.said == [("finish", "w1", "ready")]


def test_work_is_given_back_at_the_end(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> dict[str, Any]:
        raise children.Stopped

    monkeypatch.setattr(children, "run", stopped)
    queue = WorkQueue()
    assert not background.one(queue, "m", 1.0, lambda order: order)
    assert queue.said == [("release", "w1")]


def test_it_starts_and_stops(background: Background, tmp_path: Path) -> None:
    background.start()
    background.stop()
