"""`verify`: a plan runs two real steps and one evaluation step before it is called ready; a miss makes it tighter.

Then its gradient is compared with the exact one, where an exact step fits the budget too.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from s2a_core.adapters.apply import trained_state
from s2a_core.batches import Samples, forward, loss_of, repeated, sample_bytes, target_bytes
from s2a_core.compression import compress
from s2a_core.device import (
    MemoryAtFailure,
    device_memory,
    device_of,
    is_out_of_memory,
    memory_at_failure,
    release_cached,
)
from s2a_core.errors import InfeasibleBudget, OutOfMemory, PlanMissed
from s2a_core.meter import PeakMeter
from s2a_core.planning.overhead import AVERAGE, BEST_STATE, CODE, SLACK
from s2a_core.planning.pairs import PeakPair, record
from s2a_core.planning.peak import Peak
from s2a_core.planning.replan import Replanner, trainable_room
from s2a_core.planning.types import Plan
from s2a_core.profiling.runs import gradient, relative_error, run_step, unchanged
from s2a_core.profiling.types import Profile
from s2a_core.train.mode import resting_modules, training_mode
from s2a_core.train.optimizers import make_adamw, open_gradients

MAX_ROUNDS = 3
LOOP_BYTES = 256  # of the training loop over a step: losses and sums, single numbers
# Kernels of the loop that two steps do not run: accuracies, mistakes, averages. That it is enough is a column of
# `python -m benchmarks.device_grid`: held, beside promised.
PROMISED_CODE_BYTES = 2 * 2**20
MARGIN, WORKING = "margin", "working"
MOST_COMPARED = 8  # images of the exact step and of the plan's
# Of what a budget leaves beside context and workspaces: what a plan that ran out of memory is taken to need above it.
# A plan counts SLACK_SHARE of its bytes alive for the allocator, which may need MOST_SLACK_SHARE: 8 % more, rounded up.
UNKNOWN_EXCESS = 0.1
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class VerifiedPlan:
    """A plan that ran inside its budget, and what it took. rounds: plans tried."""

    plan: Plan
    measured_peak_bytes: int
    predicted_peak_bytes: int
    rounds: int


def verify(
    model: nn.Module,
    plan: Plan,
    images: Tensor | Samples,
    labels: Tensor | Samples,
    replanner: Replanner | None = None,
    pairs: Path | None = None,
) -> VerifiedPlan:
    """Measures the plan's peak in two steps and an evaluation; with a replanner, plans again while it misses.

    A plan that runs out of memory has missed as well. Given a replanner, the plan's gradient error is measured too.
    images: [N, 3, H, W] on any device, repeated where fewer than a micro-batch; labels [N]; of other models the two
    Samples of s2a_core.batches.samples_of_pair((inputs, targets), loss). The model is left as it
    was, but for frozen weights the plan narrows. pairs: JSON lines that every (predicted, measured) peak is added to.
    Raises InfeasibleBudget when three rounds do not fit, PlanMissed when the plan does not and there is no replanner,
    and OutOfMemory in place of both when the device had no memory left for the last plan.
    """
    first_margin, misses = plan.predicted.breakdown.get("margin", 0), 0
    for tried in range(1, MAX_ROUNDS + 1):
        failure: OutOfMemory | None = None
        try:
            measured = _within_memory(partial(measured_peak, model, plan, images, labels), plan.device)
        except OutOfMemory as error:
            measured, failure = plan.budget_bytes + int(UNKNOWN_EXCESS * trainable_room(plan)), error
        if pairs is not None and failure is None:
            record(pairs, PeakPair.of(plan, measured))
        if measured <= plan.budget_bytes:
            compared = plan.measured_gradient_error
            if replanner is not None:
                step = partial(measured_gradient_error, model, plan, replanner.profile, images, labels)
                with suppress(OutOfMemory):
                    compared = _within_memory(step, plan.device)
            # After the comparison, which a process on CUDA holds memory for as well.
            ready = _with_measured(plan, measured, _promised(plan, measured, model))
            ready = replace(ready, measured_gradient_error=compared)
            return VerifiedPlan(ready, measured, plan.predicted.peak_bytes, tried)
        if replanner is None:
            raise failure or PlanMissed(plan.budget_bytes, measured)
        if tried == MAX_ROUNDS:
            break
        # free[r + 1] = first margin + misses so far, those doubled in the last round; the smallest plan's rest at most.
        wanted = misses + measured - min(plan.budget_bytes, max(plan.predicted.needed_bytes, plan.predicted.peak_bytes))
        wanted = 2 * wanted if tried == MAX_ROUNDS - 1 else wanted
        wanted = min(wanted, replanner.spare_bytes(plan) - first_margin)
        if wanted <= misses:
            break
        misses, plan = wanted, replanner.tighter(plan, first_margin + wanted)
    if failure is not None and not _is_own(failure):
        raise failure
    name, size = max(plan.predicted.breakdown.items(), key=lambda part: part[1])
    raise InfeasibleBudget(
        budget_bytes=plan.budget_bytes,
        min_feasible_budget_bytes=max(measured, plan.min_feasible_budget_bytes or 0),
        binding=name,
        binding_bytes=size,
        details={"measured_peak_bytes": measured, "rounds": MAX_ROUNDS},
        is_estimate=True,
    )


def _is_own(failure: OutOfMemory) -> bool:
    """Whether the process's own cap was in the way, while the device had what was asked for."""
    memory = MemoryAtFailure.from_json(failure.details["memory"])
    return memory.budget_bytes > 0 and memory.free_bytes is not None and memory.free_bytes >= memory.asked_bytes


def _promised(plan: Plan, measured: int, model: nn.Module) -> int:
    """What a plan promises once it ran: what was measured and its margin, if that is less than was predicted.

    On CUDA, where only real steps show what the allocator reserves: what was measured and a little code, and at least
    what the process has held so far.
    """
    memory = device_memory(next(model.parameters()).device)
    if memory is None:
        return max(measured, min(plan.predicted.peak_bytes, measured + plan.predicted.breakdown.get(MARGIN, 0)))
    return min(max(measured + PROMISED_CODE_BYTES, memory.peak_bytes()), plan.budget_bytes)


def _with_measured(plan: Plan, measured: int, promised: int) -> Plan:
    """The plan with its measured peak and what it promises; the difference is in the parts that were only believed."""
    parts = dict(plan.predicted.breakdown)
    more = promised - plan.predicted.peak_bytes
    believed = (SLACK, MARGIN, CODE, WORKING) if SLACK in parts else (WORKING, MARGIN)
    for name in believed if more < 0 else (SLACK if SLACK in parts else MARGIN,):
        change = max(more, -parts.get(name, 0))
        parts[name], more = parts.get(name, 0) + change, more - change
    predicted = replace(plan.predicted, peak_bytes=promised - more, breakdown=parts)
    return replace(plan, measured_peak_bytes=measured, predicted=predicted)


def measured_peak(model: nn.Module, plan: Plan, images: Tensor | Samples, labels: Tensor | Samples) -> int:
    """Bytes alive at the worst moment of two training steps and one evaluation step, everything included.

    CPU: live tensor bytes. CUDA: all that the process holds of the device, reserved segments and context included.
    """
    device_of(next(model.parameters()).device)  # a plan may come from another process
    release_cached(next(model.parameters()).device)
    x, y = _micro_batch(images, labels, plan.micro_batch, next(model.parameters()).device)
    session = compress(model, plan)  # once, as training does
    with unchanged(model):
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = make_adamw(plan.optimizer, [{"params": trained}], lr=1e-4)
        training_mode(model, resting_modules(model, plan.adapter))
        owned = {
            t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in (*model.parameters(), *model.buffers())
        }
        copies = run_copies(model, plan)
        batch = (sample_bytes(x) + target_bytes(y)) * len(x)
        base = sum(owned.values()) + batch + sum(tensor.nbytes for tensor in copies) + LOOP_BYTES
        with PeakMeter(x.device) as meter:
            for _ in range(2):
                optimizer.zero_grad(set_to_none=True)
                open_gradients(optimizer, plan.accumulation)
                for _ in range(min(plan.accumulation, 2)):
                    with _autocast(plan, x), session:
                        loss = loss_of(forward(model, x), y)
                    loss.backward()
                    del loss
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            model.eval()
            with torch.no_grad(), _autocast(plan, x), session:
                forward(model, x)
        del optimizer, copies
    return meter.device_bytes or base + meter.peak_bytes


def measured_gradient_error(
    model: nn.Module, plan: Plan, profile: Profile, images: Tensor | Samples, labels: Tensor | Samples
) -> float | None:
    """Relative L2 error of the plan's trainable gradient against the exact one, of the same images and random numbers.

    Of as many images as an exact step fits the budget with, at most a micro-batch; None where it fits with none.
    """
    for samples in range(min(len(images), plan.micro_batch, MOST_COMPARED), min(profile.min_micro_batch, 2) - 1, -1):
        parts = Peak(profile, samples, frozen_weights=plan.frozen_weights, wide_weights=plan.wide_weights).breakdown({})
        if sum(parts.values()) <= plan.budget_bytes:
            break
    else:
        return None
    x, y = _micro_batch(images, labels, samples, next(model.parameters()).device)
    with unchanged(model):
        training_mode(model, resting_modules(model, plan.adapter))
        run_step(model, x, y, replace(plan.policy, sites={}, tables=()), plan.precision, is_metered=False)
        exact = gradient(model)
        run_step(model, x, y, plan.policy, plan.precision, is_metered=False)
        return relative_error(gradient(model), exact)


def _within_memory(step: Callable[[], _Result], device: str) -> _Result:
    """A step's result. Raises OutOfMemory, after the step's tensors are given back."""
    try:
        return step()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason, memory = str(error).splitlines()[0], memory_at_failure(error, device)
    # Outside of the handler the error's frames are gone, and with them the step's tensors.
    gc.collect()
    release_cached(torch.device(device))
    raise OutOfMemory(
        f"the device ran out of memory in real steps of the plan: {reason}; something else may use the device, or the "
        "budget is more than it has",
        details={"memory": memory.to_json()},
    )


def run_copies(model: nn.Module, plan: Plan) -> list[Tensor]:
    """What a run of the plan keeps over its steps, as many copies of what training changes as the plan has parts."""
    names = [name for name in (AVERAGE, BEST_STATE) if name in plan.predicted.breakdown]
    return [tensor.detach().clone() for _ in names for tensor in trained_state(model).values()]


def _autocast(plan: Plan, x: Tensor | Samples) -> torch.autocast:
    return torch.autocast(x.device.type, torch.bfloat16, enabled=plan.precision == "bf16")


def _micro_batch(
    inputs: Tensor | Samples, targets: Tensor | Samples, samples: int, device: torch.device
) -> tuple[Tensor | Samples, Tensor | Samples]:
    return repeated(inputs, samples).to(device), repeated(targets, samples).to(device)
