"""The actor keeps one process, ends it with all it started, and tells a runner to end with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from app.executors import ray_actor
from app.executors.ray_actor import AttemptActor
from tests.app.executors.contract import POLITE, is_running, words


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> AttemptActor:
    monkeypatch.setattr(ray_actor, "node_id", lambda: "node_1")
    return AttemptActor()


def test_it_answers_for_its_process(actor: AttemptActor, tmp_path: Path) -> None:
    assert (actor.handle(), actor.look(), actor.kill(0.0)) == (None, ("gone", None), True)
    handle = actor.start("att_x", [sys.executable, "-c", POLITE], "t", str(tmp_path / "log"), "cpu", 1)
    assert handle["node"] == "node_1"
    words(tmp_path / "log", 1)
    assert actor.look() == ("running", None)
    assert actor.handle() == handle
    assert actor.kill(10.0)
    assert actor.look() == ("gone", 0)
    assert actor.sweep(handle)
    assert not is_running(handle["pid"])


def test_a_runner_is_told_to_end_with_the_actor(actor: AttemptActor, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[list[str]] = []

    def launch(attempt_id: str, command: list[str], *_: Any) -> dict[str, Any]:
        got.append(command)
        return {"pid": 1, "started": 0.0}

    monkeypatch.setattr(actor._executor, "launch", launch)
    actor.start("att_y", ["python", "-m", "app.runner", "--attempt", "att_y"], "t", "log", "cpu", 1)
    assert got == [["python", "-m", "app.runner", "--attempt", "att_y", "--end-with-parent"]]
