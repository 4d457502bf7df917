"""What a run takes beyond a step of its model: copies that outlive steps, the device's own parts, and a margin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, sqrt
from typing import Any, ClassVar

from s2a_core.planning.margin import SHARE_OF_MOVING, error_share
from s2a_core.profiling.types import Profile
from s2a_core.storage import Optimizer

AVERAGE, BEST_STATE = "average", "best_state"
CONTEXT, WORKSPACES, CODE, SLACK = "context", "workspaces", "code", "slack"
OF_DEVICE = (CONTEXT, WORKSPACES, CODE)
# The smallest budget that is planned for lies so far above the smallest peak: what verification may find missing when
# a plan is that tight.
SMALLEST_SLACK = 0.015
# What a capped allocator with growing segments needs above the bytes alive. The bytes are its pages: large blocks come
# from pages of 12 MiB (`ALLOCATOR` of s2a_core/device/libraries.py), small ones from pages of 2 MiB, and the last page
# of each is partly used: 12 MiB is one large page, 16 MiB one of each and 2 MiB for blocks rounded to 512 bytes.
# The shares are the holes that blocks leave between others, which no rule bounds. They come from one series by hand:
# the least caps that 12 plans of 5 models survived on a device without silicon (tests/fakegpu) lay 4 to 34 MiB above
# what was alive, in the middle 4 % + 12 MiB, at most 12 % + 16 MiB. A budget has to leave the middle, and verification
# measures the rest; the smallest budget leaves the most. `python -m benchmarks.device_grid` is the check that stands in
# the repository: its smallest budgets train, and `slack` in docs/device/results.jsonl is what real steps left of these.
SLACK_SHARE, SLACK_BYTES = 0.04, 12 * 2**20
MOST_SLACK_SHARE, MOST_SLACK_BYTES = 0.12, 16 * 2**20
# What is expected of a step is less, as half a page of each kind is unused on average and holes are filled again: they
# grow as the root of what is alive. `python -m benchmarks.modules --double` shows how far it is off.
USUAL_SLACK_BYTES, USUAL_SLACK_ROOT = 7 * 2**20, 700.0


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
    # Share by which the smallest budget of one profile may lie below that of another of the same model. On CUDA they
    # differ where a process has loaded more code than a plan counts in any case, or its budget took fewer samples.
    tolerance: ClassVar[float] = 0.0

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
            low, high = (middle, high) if self.needed(always, middle) <= budget_bytes else (low, middle - 1)
        return low

    def needed(self, always: int, moving: int) -> int:
        """Bytes that a budget has to have for so many alive: no less than what is expected to be taken."""
        return self.total(always, moving)

    def with_margin(self, margin_bytes: int) -> Overhead:
        """With so many bytes kept free besides."""
        return replace(self, margin_bytes=margin_bytes)

    def within(self, budget_bytes: int) -> Overhead:
        """Of a process that was started with this budget."""
        return self

    def is_accepted(self, budget_bytes: int, smallest_bytes: int) -> bool:
        """Whether a budget is planned for; what is kept free besides was found missing in a plan that was."""
        return self.margin_bytes > 0 or budget_bytes >= smallest_bytes * (1 - self.tolerance)

    def smallest_budget(self, always: int, moving: int) -> int:
        """The smallest budget in which a run of so many bytes is started; what is kept free besides is in it once."""
        total = self.total(always, moving) - self.margin_bytes
        return ceil(total * (1 + SMALLEST_SLACK)) + self.margin_bytes


@dataclass(frozen=True)
class DeviceOverhead(Overhead):
    """Of a CUDA device. parts: also its `context`, the libraries' `workspaces`, and the `code` of kernels expected.

    workspaces: (budget from which on, bytes), in rising order: what a process takes follows from its budget.
    spare_code_bytes: of further code that a budget has to leave room for.
    """

    workspaces: tuple[tuple[int, int], ...] = ()
    spare_code_bytes: int = 0
    tolerance: ClassVar[float] = 0.01

    def slack(self, always: int, moving: int) -> dict[str, int]:
        """With what PyTorch's allocator is expected to reserve beyond the bytes alive."""
        alive = always - self._outside + moving
        reserved = USUAL_SLACK_BYTES + ceil(USUAL_SLACK_ROOT * sqrt(max(alive, 0)))
        return {**super().slack(always, moving), SLACK: reserved}

    def needed(self, always: int, moving: int) -> int:
        """With what a capped allocator needs, and room for code that may still load."""
        alive = always - self._outside + moving
        margin = ceil(SHARE_OF_MOVING * moving) + self.margin_bytes
        reserved = alive + ceil(SLACK_SHARE * alive) + SLACK_BYTES
        return max(self._outside + self.spare_code_bytes + reserved + margin, self.total(always, moving))

    def within(self, budget_bytes: int) -> DeviceOverhead:
        """With the workspaces of a process that was started with this budget."""
        sizes = [size for first, size in self.workspaces if first <= budget_bytes]
        return replace(self, parts={**self.parts, WORKSPACES: sizes[-1]}) if sizes else self

    def smallest_budget(self, always: int, moving: int) -> int:
        """With the most that the allocator was seen to need, and the workspaces of such a budget."""
        alive = always - self._outside + moving
        budget_bytes = 0
        for _ in self.workspaces or (0,):
            outside = self.within(budget_bytes)._outside
            needed = ceil((1 + MOST_SLACK_SHARE) * alive) + MOST_SLACK_BYTES + self.spare_code_bytes
            needed += outside + self.margin_bytes
            if self.within(needed)._outside == outside:
                break
            budget_bytes = needed
        return needed

    @classmethod
    def of(cls, parts: Mapping[str, int], code_bytes: int | None, **others: Any) -> DeviceOverhead:
        """parts: with the most code that a run may load; code_bytes: what it is expected to, None for the most."""
        most = parts.get(CODE, 0)
        code = most if code_bytes is None else min(code_bytes, most)
        return cls({**parts, CODE: code}, spare_code_bytes=most - code, **others)

    @property
    def _outside(self) -> int:
        return sum(self.parts.get(name, 0) for name in OF_DEVICE)


def device_overhead(profile: Profile) -> Overhead:
    """What the device of a profile holds beside the tensors of a run that keeps nothing over its steps."""
    if not profile.device_parts:
        return Overhead()
    return DeviceOverhead.of(profile.device_parts, profile.code_bytes, workspaces=profile.workspaces)


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
    workspaces: Sequence[tuple[int, int]] = (),
    code_bytes: int | None = None,
    optimizer: Optimizer = "adamw",
) -> Overhead:
    """Of a run on a device. errors: measured / predicted - 1 of earlier plans on it; device_parts, workspaces,
    code_bytes: of a profile.
    """
    parts = run_parts(device, state_bytes, has_average)
    if device_parts:
        of_run = {"error_share": error_share(errors), "optimizer": optimizer, "workspaces": tuple(workspaces)}
        return DeviceOverhead.of({**parts, **device_parts}, code_bytes, **of_run)
    return Overhead(parts, error_share(errors), optimizer=optimizer)
