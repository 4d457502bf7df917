"""Out of memory while training: the run is kept, planned again with less, and goes on from its last whole state."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from s2a_core.datasets import ImageDataset
from s2a_core.device import device_memory, is_out_of_memory, memory_at_failure, release_cached
from s2a_core.errors import InfeasibleBudget, OutOfMemory
from s2a_core.planning.replan import trainable_room
from s2a_core.planning.types import Plan
from s2a_core.sizes import format_bytes
from s2a_core.train import TrainConfig, TrainResult
from s2a_core.train.loop import train
from s2a_core.train.types import OnEvent

MAX_PLANS = 4
# Of what a budget leaves beside a device's own parts, kept free once more with every miss: as much as verification
# takes a plan to need that ran out of memory, UNKNOWN_EXCESS.
TIGHTER_SHARE = 0.1


def train_within(
    model: nn.Module,
    dataset: ImageDataset,
    plan: Plan,
    tighter: Callable[[Plan, int], Plan],
    config: TrainConfig,
    output: Path,
    on_event: OnEvent,
) -> tuple[TrainResult, Plan]:
    """`train`, again with a tighter plan from its checkpoint when out of memory; and the plan that worked.

    tighter: a plan of the same budget that keeps so many bytes free. Raises OutOfMemory when none is left, or after
    three misses.
    """
    margin = plan.predicted.breakdown.get("margin", 0)
    for tried in range(1, MAX_PLANS + 1):
        try:
            return train(model, dataset, plan, config, output, on_event), plan
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason, memory = str(error).splitlines()[0], memory_at_failure(error, plan.device)
        # Outside of the handler the error's frames are gone, and with them the step's tensors but for gradients.
        model.zero_grad(set_to_none=True)
        gc.collect()
        release_cached(plan.device)
        if tried == MAX_PLANS:
            break
        returned = _returned_bytes(plan)
        margin += int(TIGHTER_SHARE * (trainable_room(plan) - returned))
        try:
            plan = _without(tighter(plan, margin + returned), returned)
        except InfeasibleBudget:
            break
        config = dataclasses.replace(config, resume=True)
        message = f"out of memory ({reason}): planned again with {format_bytes(margin)} kept free"
        on_event({"type": "warning", "message": message})
        on_event({"type": "plan", "plan": plan.to_json()})
    raise OutOfMemory(
        f"the device ran out of memory in {tried} plans, the last with {format_bytes(margin)} of the budget kept free: "
        f"{reason}; something else may use the device, or the budget is more than it has",
        details={"budget_bytes": plan.budget_bytes, "margin_bytes": margin, "plans": tried, "memory": memory.to_json()},
    )


def _returned_bytes(plan: Plan) -> int:
    """Bytes of the plan's budget that its process may not hold: a job of the queue gives back what its plan leaves."""
    memory = device_memory(plan.device)
    return 0 if memory is None or memory.budget_bytes <= 0 else max(plan.budget_bytes - memory.budget_bytes, 0)


def _without(plan: Plan, returned_bytes: int) -> Plan:
    """The plan with bytes that were kept free because they are not the process's left out of what it promises."""
    parts = plan.predicted.breakdown
    parts = {**parts, "margin": parts.get("margin", 0) - returned_bytes}
    predicted = dataclasses.replace(
        plan.predicted, peak_bytes=plan.predicted.peak_bytes - returned_bytes, breakdown=parts
    )
    return dataclasses.replace(plan, predicted=predicted) if returned_bytes else plan
