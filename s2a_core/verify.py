"""`verify`: a plan runs two real steps and one evaluation step before it is called ready; a miss makes it tighter.

Then its gradient is compared with the exact one, where an exact step fits the budget too.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from s2a_core.compression import compress, prepare_frozen_weights
from s2a_core.compression.sites import SMOOTH_ACTIVATIONS
from s2a_core.errors import InfeasibleBudget, OutOfMemory, PlanMissed
from s2a_core.kernels import fit_table
from s2a_core.meter import PeakMeter, is_out_of_memory
from s2a_core.planning.memory import breakdown
from s2a_core.planning.search import Objective, smallest_peak
from s2a_core.planning.search import plan as make_plan
from s2a_core.planning.types import Plan
from s2a_core.profiling.runs import gradient, relative_error, run_step, unchanged
from s2a_core.profiling.types import Profile
from s2a_core.train.mode import resting_modules, training_mode

MAX_ROUNDS = 3
MOST_COMPARED = 8  # images of the exact step and of the plan's
UNKNOWN_EXCESS = 0.1  # of the budget: what a plan that ran out of memory is taken to need above it
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class VerifiedPlan:
    """A plan that ran inside its budget, and what it took. rounds: plans tried."""

    plan: Plan
    measured_peak_bytes: int
    predicted_peak_bytes: int
    rounds: int


@dataclass(frozen=True)
class PeakPair:
    """A prediction, without its margin, and what was measured for it."""

    model: str
    adapter: str
    precision: str
    device: str
    predicted_bytes: int
    measured_bytes: int

    @property
    def error(self) -> float:
        """How far the measurement lies above the prediction, as a share of it; negative where it lies below."""
        return self.measured_bytes / max(self.predicted_bytes, 1) - 1


def verify(
    model: nn.Module,
    plan: Plan,
    profile: Profile | None,
    images: Tensor,
    labels: Tensor,
    pairs: Path | None = None,
) -> VerifiedPlan:
    """Measures the plan's peak in two steps and an evaluation; given a profile, plans again while it misses the budget.

    A plan that runs out of memory has missed as well. Given a profile, the plan's gradient error is measured too.
    images: [N, 3, H, W] on any device, repeated where fewer than a micro-batch; labels [N]. The model is left as it
    was, but for frozen weights the plan narrows. pairs: JSON lines that every (predicted, measured) peak is added to.
    Raises InfeasibleBudget when three rounds do not fit, PlanMissed when the plan does not and there is no profile, and
    OutOfMemory in place of both when that is how the last plan missed.
    """
    kept, margin = plan.predicted.breakdown.get("margin", 0), 0
    for tried in range(1, MAX_ROUNDS + 1):
        failure: OutOfMemory | None = None
        try:
            measured = _within_memory(partial(measured_peak, model, plan, images, labels))
        except OutOfMemory as error:
            measured, failure = int((1 + UNKNOWN_EXCESS) * plan.budget_bytes), error
        if pairs is not None and failure is None:
            record(pairs, _pair(plan, measured))
        if measured <= plan.budget_bytes:
            promised = max(plan.predicted.peak_bytes, measured)
            ready = replace(plan, measured_peak_bytes=measured, predicted=replace(plan.predicted, peak_bytes=promised))
            if promised > plan.predicted.peak_bytes:
                parts = dict(plan.predicted.breakdown)
                parts["margin"] = parts.get("margin", 0) + promised - plan.predicted.peak_bytes
                ready = replace(ready, predicted=replace(ready.predicted, breakdown=parts))
            if profile is not None:
                with suppress(OutOfMemory):
                    compared = _within_memory(partial(measured_gradient_error, model, plan, profile, images, labels))
                    ready = replace(ready, measured_gradient_error=compared)
            return VerifiedPlan(ready, measured, plan.predicted.peak_bytes, tried)
        if profile is None:
            raise failure or PlanMissed(plan.budget_bytes, measured)
        if tried == MAX_ROUNDS:
            break
        # What was predicted too low is kept free as well in the next round, so that the same miss fits, in the last one
        # twice; at most so much that the plan of the smallest peak is left.
        most = plan.budget_bytes - kept - smallest_peak(profile, plan.batch_size)
        if margin >= most:
            break
        margin += measured - min(plan.budget_bytes, plan.predicted.peak_bytes)
        margin = min(2 * margin if tried == MAX_ROUNDS - 1 else margin, most)
        tighter = make_plan(profile, plan.budget_bytes, plan.batch_size, cast(Objective, plan.objective), kept + margin)
        plan = replace(tighter, alternatives=plan.alternatives, adapter_reason=plan.adapter_reason)
    if failure is not None:
        raise failure
    name, size = max(plan.predicted.breakdown.items(), key=lambda part: part[1])
    raise InfeasibleBudget(
        budget_bytes=plan.budget_bytes,
        min_feasible_budget_bytes=max(measured, plan.min_feasible_budget_bytes),
        binding=name,
        binding_bytes=size,
        details={"measured_peak_bytes": measured, "rounds": MAX_ROUNDS},
    )


def measured_peak(model: nn.Module, plan: Plan, images: Tensor, labels: Tensor) -> int:
    """Bytes alive at the worst moment of two training steps and one evaluation step, everything included.

    CPU: live tensor bytes. CUDA: allocated bytes, without what the allocator reserves beyond them and the context.
    """
    x, y = _micro_batch(images, labels, plan.micro_batch, next(model.parameters()).device)
    _fit_tables(plan)
    prepare_frozen_weights(model, plan.frozen_weights)
    with unchanged(model):
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-4)
        training_mode(model, resting_modules(model, plan.adapter))
        owned = {
            t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in (*model.parameters(), *model.buffers())
        }
        base = sum(owned.values()) + x.untyped_storage().nbytes()
        with PeakMeter(x.device) as meter:
            for _ in range(2):
                optimizer.zero_grad(set_to_none=True)
                for _ in range(min(plan.accumulation, 2)):
                    with _autocast(plan, x), compress(model, plan):
                        loss = nn.functional.cross_entropy(model(x).float(), y)
                    loss.backward()
                    del loss
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            model.eval()
            with torch.no_grad(), _autocast(plan, x), compress(model, plan):
                model(x)
        del optimizer
    return base + meter.peak_bytes


def measured_gradient_error(
    model: nn.Module, plan: Plan, profile: Profile, images: Tensor, labels: Tensor
) -> float | None:
    """Relative L2 error of the plan's trainable gradient against the exact one, of the same images and random numbers.

    Of as many images as an exact step fits the budget with, at most a micro-batch; None where it fits with none.
    """
    for samples in range(min(len(images), plan.micro_batch, MOST_COMPARED), min(profile.min_micro_batch, 2) - 1, -1):
        if sum(breakdown(profile, {}, samples, plan.frozen_weights).values()) <= plan.budget_bytes:
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


def _within_memory(step: Callable[[], _Found]) -> _Found:
    """What a step found. Raises OutOfMemory, after the step's tensors are given back."""
    try:
        return step()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
    # Outside of the handler the error's frames are gone, and with them the step's tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise OutOfMemory(
        f"the device ran out of memory in real steps of the plan: {reason}; something else may use the device, or the "
        "budget is more than it has"
    )


def record(path: Path, pair: PeakPair) -> None:
    """Adds one pair to a file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(vars(pair)) + "\n")


def recorded(path: Path) -> list[PeakPair]:
    """The pairs of a file; an unfinished last line is left out."""
    if not path.is_file():
        return []
    pairs = []
    for line in path.read_text().splitlines():
        try:
            pairs.append(PeakPair(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):
            continue
    return pairs


def _pair(plan: Plan, measured: int) -> PeakPair:
    predicted = plan.predicted.peak_bytes - plan.predicted.breakdown.get("margin", 0)
    return PeakPair(plan.model, plan.adapter, plan.precision, plan.device, predicted, measured)


def _autocast(plan: Plan, x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, torch.bfloat16, enabled=plan.precision == "bf16")


def _fit_tables(plan: Plan) -> None:
    """Tables are fitted once in a process; that is no part of a step."""
    for site, storage in plan.sites.items():
        op = site.rpartition(":")[2].partition("#")[0]
        if storage.bits and op in SMOOTH_ACTIVATIONS:
            for name in (op, "gelu_tanh") if op == "gelu" else (op,):
                fit_table(name, storage.bits, None)


def _micro_batch(images: Tensor, labels: Tensor, samples: int, device: torch.device) -> tuple[Tensor, Tensor]:
    repeats = -(-samples // max(len(images), 1))
    x, y = images.repeat(repeats, 1, 1, 1)[:samples].clone(), labels.repeat(repeats)[:samples].clone()
    return x.to(device), y.to(device)
