"""Steps of real plans for `benchmarks.host`: for a half and a quarter of stock's memory, and the smallest.

On `tests/fakegpu` every value is zero and so is every error: there plans are made with nominal errors of storages
(`s2a_core/profiling/sensitivity.py`), with the bytes and the host's times that were measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from s2a_core.compression import compress
from s2a_core.device import open_device, release_cached
from s2a_core.planner import Planner
from s2a_core.planning import Plan
from s2a_core.planning.search import plan, smallest_budget
from s2a_core.profiling.sensitivity import nominal_error
from s2a_core.profiling.types import Profile
from s2a_core.requests import RunRequest

SHARES = {"plan at half": 1 / 2, "plan at a quarter": 1 / 4}  # of what stock holds of the device
SMALLEST = "smallest plan"
MOST_BYTES = 64 * 2**30  # of the device: nothing is capped while a profile is made


def peak_bytes(make: Callable[[], Callable[[], None]]) -> int:
    """The most that a process holds of the device, context and all, which makes one step and runs it."""
    memory = open_device("cuda")
    assert memory is not None
    release_cached("cuda")
    before = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    step = make()
    for _ in range(2):
        step()
    return memory.outside_bytes() + torch.cuda.max_memory_reserved() - before


class Plans:
    """Plans of one model with its biases trained. Made first in a process: the device's own parts are in them.

    has_errors: they are measured, as on a device of silicon.
    """

    def __init__(self, name: str, batch: int, classes: int, has_errors: bool) -> None:
        self.batch = batch
        planner = Planner(
            RunRequest(
                name, budget_bytes=MOST_BYTES, weights="none", adapter="bias", precision="bf16", num_classes=classes,
                batch_size=batch, device="cuda",
            )
        )  # fmt: skip
        measured = planner.profile()
        self.profile = measured if has_errors else with_nominal_errors(measured)
        self.overhead = planner.overhead(measured)
        self.model: nn.Module = planner.prepared().model.train()

    def within(self, stock_bytes: int) -> dict[str, Plan]:
        """By name, for shares of what stock holds; a budget below the smallest is the smallest."""
        smallest = smallest_budget(self.profile, self.batch, self.overhead)
        budgets = {label: max(int(share * stock_bytes), smallest) for label, share in SHARES.items()}
        return {
            label: plan(self.profile, budget, self.batch, "accuracy", self.overhead, has_frontier=False)
            for label, budget in {**budgets, SMALLEST: smallest}.items()
        }


def with_nominal_errors(profile: Profile) -> Profile:
    """The profile with what a storage of unknown sensitivity is taken to cost."""
    sites = []
    for site in profile.sites:
        options = tuple(replace(option, gradient_error=nominal_error(option.storage)) for option in site.options)
        sites.append(replace(site, options=options))
    return replace(profile, sites=tuple(sites))


def planned_step(model: nn.Module, chosen: Plan, x: Tensor, y: Tensor) -> Callable[[], None]:
    """Forward and backward of all micro-batches of images x [B, 3, H, W], as training runs them."""
    session = compress(model, chosen)
    parts = list(zip(x.split(chosen.micro_batch), y.split(chosen.micro_batch), strict=True))

    def step() -> None:
        model.zero_grad(set_to_none=True)
        for images, labels in parts:
            with torch.autocast(x.device.type, torch.bfloat16), session:
                logits = model(images)
            (nn.functional.cross_entropy(logits.float(), labels) * (len(labels) / len(y))).backward()

    return step
