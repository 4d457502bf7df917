"""A service of its own for a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.service import RunningService


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    """Runs until the test is over."""
    running = RunningService(tmp_path / "s2a", poll_s=0.1).start()
    yield running
    running.stop()
