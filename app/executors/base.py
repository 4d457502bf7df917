"""What the scheduler needs of a place where attempts run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Executor(Protocol):
    """Launches and ends processes of attempts. A handle is JSON, so that a restarted service finds its processes."""

    def launch(self, command: list[str], token: str, log: Path) -> dict[str, Any]:
        """Start a process that reads its token from standard input; its handle."""

    def is_alive(self, handle: dict[str, Any]) -> bool:
        """Whether the process of a handle still runs."""

    def kill(self, handle: dict[str, Any]) -> None:
        """End the process and everything it started; return when nothing of it remains."""
