"""The phases of a run: told as they begin, with their seconds afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from s2a_core.train.types import OnEvent


class Clock:
    """Keeps the phases that are over in `phases`: {"name", "seconds"} each."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event
        self.phases: list[dict[str, Any]] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The block is a phase; one that fails is not kept."""
        self.on_event({"type": "phase", "name": name})
        start = time.perf_counter()
        yield
        self.phases.append({"name": name, "seconds": round(time.perf_counter() - start, 3)})
