"""The actor of an attempt: it runs on the device's node, keeps the process, and answers for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.executors.local import LocalExecutor

END_WITH_PARENT = "--end-with-parent"


class AttemptActor:
    """One process of one attempt on this node."""

    def __init__(self) -> None:
        self._executor = LocalExecutor()
        self._handle: dict[str, Any] | None = None

    def start(
        self, attempt_id: str, command: list[str], token: str, log: str, device: str | None, reserved_bytes: int
    ) -> dict[str, Any]:
        """Start the process. A runner is told to end with this actor, so that it never outlives it."""
        if "--attempt" in command:
            command = [*command, END_WITH_PARENT]
        handle = self._executor.launch(attempt_id, command, token, Path(log), device, reserved_bytes)
        self._handle = {**handle, "node": node_id()}
        return self._handle

    def handle(self) -> dict[str, Any] | None:
        """What was started."""
        return self._handle

    def look(self) -> tuple[str, int | None]:
        """(state, exit code) of the process."""
        if self._handle is None:
            return "gone", None
        look = self._executor.look(self._handle)
        return look.state.value, look.exit_code

    def kill(self, grace_s: float) -> bool:
        """End the process and everything it started; whether nothing remains."""
        return self._handle is None or self._executor.kill(self._handle, grace_s)

    def sweep(self, handle: dict[str, Any]) -> bool:
        """The same for what another actor of this node started."""
        return self._executor.kill(handle, 0.0)


def node_id() -> str:
    """Ray's name of this node."""
    import ray

    return str(ray.get_runtime_context().get_node_id())
