"""What the scheduler and the supervisor need of a place where attempts run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

ATTEMPT_VARIABLE = "S2A_ATTEMPT"  # the environment tag of everything an attempt started


class ProcessState(StrEnum):
    """What is known of an attempt's process."""

    RUNNING = "running"  # it was seen
    GONE = "gone"  # it has ended; its machine is there
    HOST_GONE = "host_gone"  # it has ended with its machine
    UNKNOWN = "unknown"  # its place does not answer; only its lease decides


@dataclass(frozen=True)
class Look:
    """One look at a process. exit_code: as subprocess counts it (-9 is SIGKILL); None when nobody was there to see."""

    state: ProcessState
    exit_code: int | None = None


@dataclass(frozen=True)
class DeviceReading:
    """Memory that attempts share. used_by_pid: bytes per process as the device itself counts them; empty on a CPU,
    and 0 of a process where the driver names it but not its bytes (WSL, some MIG set-ups).

    context_bytes: what a process costs before its first tensor, 0 where its executor does not measure it.
    """

    worker: str
    kind: str
    name: str
    capacity_bytes: int
    context_bytes: int = 0
    used_bytes: int = 0
    used_by_pid: Mapping[int, int] = field(default_factory=dict)

    @property
    def unclaimed_bytes(self) -> int:
        """Used bytes that no process accounts for; 0 where the driver does not say how much each of them uses."""
        if not all(self.used_by_pid.values()):
            return 0
        return max(0, self.used_bytes - sum(self.used_by_pid.values()))


class Executor(Protocol):
    """Launches and ends processes of attempts. A handle is JSON, so that a restarted service finds its processes."""

    def launch(
        self, attempt_id: str, command: list[str], token: str, log: Path, device: str | None, reserved_bytes: int
    ) -> dict[str, Any]:
        """Start a process that reads its token from standard input; its handle. device: `worker/name`, any if None."""

    def find(self, attempt_id: str) -> dict[str, Any] | None:
        """The handle of a process that was launched though nobody wrote its handle down."""

    def discard(self, attempt_id: str) -> None:
        """End what a launch left whose launcher died on the way, so that it holds nothing."""

    def look(self, handle: dict[str, Any]) -> Look:
        """Whether the process of a handle runs. Answers within seconds, whatever the process does."""

    def kill(self, handle: dict[str, Any], grace_s: float) -> bool:
        """TERM, `grace_s`, KILL to the process and everything it started; whether nothing of it remains."""

    def devices(self) -> list[DeviceReading]:
        """The devices it can run on, measured."""
