"""Evaluation under the plan: loss, accuracy, confusion of classes, the surest mistakes and correct answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2a_core.compression import compress
from s2a_core.datasets import ImageSplit
from s2a_core.planning.types import Plan
from s2a_core.train.loading import batches, split_evenly

MAX_MISTAKES = 50


def precision(plan: Plan) -> contextlib.AbstractContextManager[object]:
    """Autocast where the plan says bf16."""
    if plan.precision == "bf16":
        return torch.autocast(torch.device(plan.device).type, torch.bfloat16)
    return contextlib.nullcontext()


@dataclass(frozen=True)
class Evaluation:
    """What a pass over a split shows. confusion: counts [true][predicted]; mistakes: the surest, with probabilities;
    correct: the surest of each class.
    """

    loss: float
    accuracy: float
    confusion: tuple[tuple[int, ...], ...]
    mistakes: tuple[dict[str, Any], ...]
    correct: tuple[dict[str, Any], ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        """What a TrainResult keeps of the best evaluation."""
        return {"confusion": self.confusion, "mistakes": self.mistakes, "correct": self.correct}


@torch.no_grad()
def evaluate(model: nn.Module, split: ImageSplit, plan: Plan, num_classes: int) -> Evaluation:
    """One pass over a split that gives tensors."""
    loss, index = 0.0, 0
    counts = torch.zeros(num_classes, num_classes, dtype=torch.long)
    mistakes: list[dict[str, Any]] = []
    correct: dict[int, dict[str, Any]] = {}
    for logits, y in _predictions(model, split, plan):
        loss += float(functional.cross_entropy(logits, y, reduction="sum"))
        best = logits.softmax(-1).max(-1)
        rows = zip(y.tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
        for label, predicted, probability in rows:
            counts[label, predicted] += 1
            row = {"index": index, "label": label, "predicted": predicted, "probability": probability}
            if label != predicted:
                mistakes.append(row)
            elif label not in correct or probability > correct[label]["probability"]:
                correct[label] = row
            index += 1
        mistakes = sorted(mistakes, key=lambda mistake: -float(mistake["probability"]))[:MAX_MISTAKES]
    confusion = tuple(map(tuple, counts.tolist()))
    surest = tuple(correct[label] for label in sorted(correct))
    return Evaluation(loss / len(split), int(counts.trace()) / len(split), confusion, tuple(mistakes), surest)


def _predictions(model: nn.Module, split: ImageSplit, plan: Plan) -> Iterator[tuple[Tensor, Tensor]]:
    """(logits in fp32 [B, classes], labels [B]) of micro-batches."""
    model.eval()
    session = compress(model, plan)
    for x, y in batches(split, split_evenly(range(len(split)), plan.micro_batch), torch.device(plan.device)):
        with precision(plan), session:
            logits = model(x).float()
        yield logits, y
