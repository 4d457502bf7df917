"""s2a at several budgets: from half of what full fine-tuning needs down to the smallest that fits, planned and run."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from benchmarks import measure
from benchmarks.contestants import Runner
from benchmarks.results import BudgetRun
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.compression import compress
from s2a_core.planning import Plan, plan
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling import profile
from s2a_core.train.mode import resting_modules, training_mode
from s2a_core.verify import measured_peak

MODELS = ("deit_tiny_patch16_224", "mobilenetv2_100")
SIZE, CLASSES, BATCH, REPEATS = 224, 100, 16, 5
SHARES = (1 / 2, 1 / 4, 1 / 8)  # of what full fine-tuning needs for the batch


@dataclass(frozen=True)
class Accumulating(Runner):
    """A runner whose step takes the batch in micro-batches."""

    micro_batch: int = 1

    def step(self, x: Tensor, y: Tensor) -> None:
        """Forward and backward of every micro-batch; gradients add up."""
        self.model.zero_grad(set_to_none=True)
        for images, labels in zip(x.split(self.micro_batch), y.split(self.micro_batch), strict=True):
            self.loss(images, labels).backward()  # type: ignore[no-untyped-call]


def runs(
    models: tuple[str, ...] = MODELS, size: int = SIZE, batch: int = BATCH, repeats: int = REPEATS
) -> Iterator[BudgetRun]:
    """Bias tuning in fp32 at every budget, model by model; steps are paired with stock bias tuning's."""
    for name in models:
        torch.manual_seed(0)
        options: dict[str, Any] = {"img_size": size} if name.startswith(("vit", "deit")) else {}
        bare: nn.Module = timm.create_model(name, num_classes=CLASSES, **options)
        model = add_adapters(bare, AdapterSpec.parse("bias"), size)
        x, y = measure.images(batch, size, CLASSES, torch.float32)
        profiled = profile(model, size, 4, name=name, adapter="bias")
        largest = plan(profiled, 2**50, batch, has_frontier=False)
        full = next(b.peak_bytes for b in largest.baselines if b.name == "full")
        smallest = smallest_budget(profiled, batch)
        training_mode(model, resting_modules(model, "bias"))
        stock = Runner(copy.deepcopy(model))
        exact = measure.gradients(stock, x, y)
        for budget in [*(int(s * full) for s in SHARES if s * full > smallest), smallest]:
            made = plan(profiled, budget, batch, has_frontier=False)
            yield _measured(made, model, stock, exact, x, y, full, repeats)


def _measured(
    made: Plan, model: nn.Module, stock: Runner, exact: dict[str, Tensor], x: Tensor, y: Tensor, full: int, repeats: int
) -> BudgetRun:
    runner = Accumulating(model, lambda: compress(model, made), made.micro_batch)
    actual = measure.gradients(runner, x, y)
    return BudgetRun(
        model=made.model,
        batch=made.batch_size,
        full_bytes=full,
        budget_bytes=made.budget_bytes,
        micro_batch=made.micro_batch,
        mean_bits=made.mean_bits,
        predicted_bytes=made.predicted.peak_bytes,
        measured_bytes=measured_peak(model, made, x, y),
        gradient_cosine=measure.cosine(actual, exact),
        step_ratio_to_bias=measure.step_ratio(runner, stock, x, y, repeats)[0],
    )
