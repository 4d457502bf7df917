"""A run's errors become reasons with a code; its events become JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.runner.__main__ import plain, run


@dataclass
class Epoch:
    """An event with what pipelines put into events."""

    path: Path
    loss: Any


class PretendLink:
    """Hands out one request."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.job = {"request": request, "resume": False}

    def request(self) -> dict[str, Any]:
        """What to run."""
        return self.job

    def say(self, event: dict[str, Any]) -> None:
        """Nobody listens."""


def test_events_become_json() -> None:
    assert plain(Epoch(Path("a"), np.float32(0.5))) == {"path": "a", "loss": 0.5}
    assert plain({"a": (1, float("nan"), None)}) == {"a": [1, None, None]}


def test_an_unknown_model_is_a_reason_with_its_code(tmp_path: Path) -> None:
    pytest.importorskip("s2a_core.pipeline", reason="needs s2a_core.pipeline")
    link: Any = PretendLink({"model": "no_such_model", "data": "digits", "budget_bytes": 2**26})
    status, reason, report = run(link, tmp_path / "output")
    assert (status, report) == ("failed", None)
    assert reason is not None
    assert reason["code"] == "unknown_model"
