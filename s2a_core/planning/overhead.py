"""What a run takes beyond a step of its model: copies that outlive steps, the device's own parts, and a margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from s2a_core.planning.margin import SHARE_OF_MOVING, error_share
from s2a_core.storage import Optimizer

AVERAGE, BEST_STATE = "average", "best_state"
CONTEXT, WORKSPACES, SLACK = "context", "workspaces", "slack"
# What a capped allocator with growing segments needs above the bytes alive: partly used 2 MiB pages, and what blocks
# that move with every step leave between them. Not fitted: too little of it costs a round of verification, whose cap
# is the budget; 12 trainings of `python -m benchmarks.device_grid` stayed inside with these.
SLACK_SHARE, SLACK_BYTES = 0.02, 12 * 2**20


@dataclass(frozen=True)
class Overhead:
    """Parts of a peak that no storage changes. A device that needs more overrides `slack`.

    parts: named constants in bytes: `average` and `best_state` of the run, `context` or `workspace` of a device.
    optimizer: whose state and step a run has.
    error_share: of everything alive, how far measurements lay above predictions; margin_bytes: kept free besides, as
    verification found missing.
    """

    parts: Mapping[str, int] = field(default_factory=dict)
    error_share: float = 0.0
    margin_bytes: int = 0
    optimizer: Optimizer = "adamw"

    def slack(self, always: int, moving: int) -> dict[str, int]:
        """Named parts that depend on what is alive: `always` bytes and `moving` ones. Must not fall as these rise."""
        margin = max(ceil(SHARE_OF_MOVING * moving), ceil(self.error_share * (always + moving)))
        return {"margin": margin + self.margin_bytes}

    def total(self, always: int, moving: int) -> int:
        """Bytes of the device for so many alive."""
        return always + moving + sum(self.slack(always, moving).values())

    def room(self, always: int, budget_bytes: int) -> int:
        """The most bytes that may move within a budget; negative where not even none may."""
        low, high = -1, max(budget_bytes - always, 0)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.total(always, middle) <= budget_bytes else (low, middle - 1)
        return low

    def with_margin(self, margin_bytes: int) -> Overhead:
        """With so many bytes kept free besides."""
        return replace(self, margin_bytes=margin_bytes)


@dataclass(frozen=True)
class DeviceOverhead(Overhead):
    """Of a CUDA device. parts: also its `context`, with the code of kernels, and the libraries' `workspaces`."""

    def slack(self, always: int, moving: int) -> dict[str, int]:
        """With what PyTorch's allocator reserves beyond the bytes alive."""
        outside = sum(self.parts.get(name, 0) for name in (CONTEXT, WORKSPACES))
        reserved = ceil(SLACK_SHARE * (always - outside + moving)) + SLACK_BYTES
        return {**super().slack(always, moving), SLACK: reserved}


class Stated(Overhead):
    """The parts a plan states, as they are: nothing depends on what is alive any more."""

    def slack(self, always: int, moving: int) -> dict[str, int]:
        return {}


def run_parts(device: str, state_bytes: int, has_average: bool) -> dict[str, int]:
    """Copies of what training changes, alive over all steps: the average of the weights, and the best state so far.

    The best state lies in the machine's memory, which is a CPU's budget and not that of another device.
    """
    parts = {AVERAGE: state_bytes} if has_average else {}
    return parts | ({BEST_STATE: state_bytes} if device == "cpu" else {})


def overhead_of(
    device: str,
    state_bytes: int,
    has_average: bool,
    errors: Sequence[float] = (),
    device_parts: Mapping[str, int] | None = None,
    optimizer: Optimizer = "adamw",
) -> Overhead:
    """Of a run on a device. errors: measured / predicted - 1 of earlier plans on it; device_parts: of a profile."""
    parts = run_parts(device, state_bytes, has_average)
    if device_parts:
        return DeviceOverhead({**parts, **device_parts}, error_share(errors), optimizer=optimizer)
    return Overhead(parts, error_share(errors), optimizer=optimizer)
