"""The method, as one line: load -> adapt -> profile -> plan -> verify -> train -> report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2a_core.compression.frozen import plain_state_dict
from s2a_core.errors import BudgetExceeded, InvalidInput, StaleProfile
from s2a_core.models import is_random
from s2a_core.outputs import write_outputs
from s2a_core.phases import Clock
from s2a_core.planner import Planner
from s2a_core.recovery import train_within
from s2a_core.requests import RunRequest as RunRequest
from s2a_core.requests import as_planned, as_resumed
from s2a_core.resume import keep_plan, kept_plan
from s2a_core.train import TrainConfig
from s2a_core.train.checkpoint import drop_checkpoint
from s2a_core.train.recipe import enough_epochs
from s2a_core.train.types import OnEvent

if TYPE_CHECKING:
    from s2a_core.datasets import ImageDataset
    from s2a_core.planning import Plan
    from s2a_core.prepare import Prepared

Report = dict[str, Any]


def run(request: RunRequest, on_event: OnEvent = lambda event: None) -> Report:
    """Train inside the budget and write the output directory; returns report.json's content.

    Raises what s2a_core/errors.py lists: before training for bad input and budgets that cannot fit, and BudgetExceeded
    after it, with the report in the output directory, where the run took more than its budget all the same.
    """
    output, asked = _output_of(request), request
    stored = kept_plan(output) if request.resume else None
    if request.plan is not None:
        request = as_planned(request, request.plan)
    if stored is not None:
        request = as_resumed(request, stored)
    clock, planner = Clock(on_event), Planner(request, on_event=on_event)

    def say(event: dict[str, Any]) -> None:
        if event["type"] == "plan":
            keep_plan(output, event["plan"])
        on_event(event)

    with clock.phase("validating"):
        dataset = planner.validate()
        assert dataset is not None
        words = dataset.outputs.task.sentence(dataset.report.task_reason)
        on_event({"type": "note", "message": f"task: {words}"})
        for warning in dataset.report.warnings:
            on_event({"type": "warning", "message": warning})
        output.mkdir(parents=True, exist_ok=True)
    with clock.phase("profiling"):
        if request.plan is None:
            planner.measure()
    with clock.phase("planning"):
        plan = request.plan or planner.plan()
        prepared = _model_of(planner, plan, is_stored=plan is stored)
    if plan is not stored:
        with clock.phase("verifying"):
            plan = planner.verify(plan).plan
            prepared = planner.prepared_for(plan)
    say({"type": "plan", "plan": plan.to_json()})
    with clock.phase("training"):
        config = _train_config(request, dataset, plan, say)
        result, plan = train_within(prepared.model, dataset, plan, planner.tighter, config, output, say)
    with clock.phase("reporting"):
        report = write_outputs(
            output,
            request=replace(asked, budget_bytes=plan.budget_bytes, plan=request.plan),
            result=result,
            plan=plan,
            dataset=dataset,
            tensors=plain_state_dict(prepared.model) if is_random(request.model, request.weights) else None,
            phases=clock.phases,
            extra={"adapter": prepared.spec.to_json(), "weights": request.weights, "image_size": prepared.image_size},
        )
        drop_checkpoint(output)
    if not report["within_budget"]:
        raise BudgetExceeded(plan.budget_bytes, result.measured_peak_bytes, output, report)
    return report


def _output_of(request: RunRequest) -> Path:
    """The directory of a run. Raises InvalidInput for a request that can be planned but not run."""
    if request.output is None:
        raise InvalidInput("a run needs an output directory")
    if request.data is None:
        raise InvalidInput("a run needs data: a directory of images, an archive, `digits` or a dataset's name")
    if request.budget_bytes <= 0 and request.plan is None and not request.resume:
        raise InvalidInput("the budget must be a positive number of bytes; --budget says it, or the plan of --plan")
    return request.output


def _model_of(planner: Planner, plan: Plan, is_stored: bool) -> Prepared:
    """The model and data that a plan is of. Raises StaleProfile, saying what to do."""
    try:
        return planner.prepared_for(plan)
    except StaleProfile as error:
        advice = "use another --output" if is_stored else "plan again"
        raise StaleProfile(f"{error.message}: {advice}", details=error.details) from error


def _train_config(request: RunRequest, dataset: ImageDataset, plan: Plan, on_event: OnEvent) -> TrainConfig:
    """How to train, with as many epochs as the size of the data asks for where the request leaves them open."""
    epochs = request.epochs or enough_epochs(len(dataset.train), plan.batch_size)
    if request.epochs is None:
        on_event({"type": "note", "message": f"{epochs} epochs of {len(dataset.train):,} training images"})
    return TrainConfig(
        epochs=epochs,
        seed=request.seed,
        lr=request.lr,
        patience=request.patience,
        ema_decay=request.ema_decay,
        augmentation=request.augmentation,
        weight_decay=request.weight_decay,
        warmup=request.warmup,
        label_smoothing=request.label_smoothing,
        mixup=request.mixup,
        cutmix=request.cutmix,
        workers=request.workers,
        resume=request.resume,
    )
