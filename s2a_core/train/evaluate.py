"""Evaluation under the plan: the loss of a split, and what the task's judge says of the answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from s2a_core.compression import compress
from s2a_core.datasets import ImageSplit
from s2a_core.planning.types import Plan
from s2a_core.tasks import classes
from s2a_core.tasks.task import Evaluation as Evaluation
from s2a_core.tasks.task import Outputs
from s2a_core.train.loading import batches, split_evenly


def precision(plan: Plan) -> contextlib.AbstractContextManager[object]:
    """Autocast where the plan says bf16."""
    if plan.precision == "bf16":
        return torch.autocast(torch.device(plan.device).type, torch.bfloat16)
    return contextlib.nullcontext()


@torch.no_grad()
def evaluate(model: nn.Module, split: ImageSplit, plan: Plan, meaning: Outputs | int) -> Evaluation:
    """One pass over a split that gives tensors. meaning: of the outputs; a number is so many classes."""
    meaning = classes(meaning) if isinstance(meaning, int) else meaning
    task, loss = meaning.task, 0.0
    judge = task.judge(meaning)
    for outputs, targets in _outputs(model, split, plan):
        loss += float(task.loss(outputs, targets, reduction="sum"))
        judge.add(outputs, targets)
    return judge.evaluation(loss / len(split))


def _outputs(model: nn.Module, split: ImageSplit, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
    """(outputs in fp32 [B, outputs], targets) of micro-batches."""
    model.eval()
    session = compress(model, plan)
    for x, y in batches(split, split_evenly(range(len(split)), plan.micro_batch), torch.device(plan.device)):
        with precision(plan), session:
            outputs = model(x).float()
        yield outputs, y
