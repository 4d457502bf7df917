"""The training loop: micro-batches inside `compress`, checkpoints that continue to the bit, metered steps."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s2a_core.adapters import trained_state_dict
from s2a_core.adapters.head import head_parameters
from s2a_core.compression import compress
from s2a_core.datasets import ImageDataset
from s2a_core.device import is_out_of_memory, release_cached
from s2a_core.errors import Diverged
from s2a_core.kernels import prefer_native
from s2a_core.meter import mark_phase
from s2a_core.models import data_config
from s2a_core.planning.types import Plan
from s2a_core.train.checkpoint import drop_checkpoint, generator_states, load_checkpoint, run_identity, save_checkpoint
from s2a_core.train.evaluate import Evaluation, evaluate, precision
from s2a_core.train.images import evaluation_transform, training_transform
from s2a_core.train.loading import SeededSplit, batches, mixing, split_evenly
from s2a_core.train.metering import RunMeter
from s2a_core.train.mode import rest_batch_norms, resting_modules, training_mode
from s2a_core.train.optimizers import open_gradients
from s2a_core.train.recipe import WeightAverage, make_optimizer, schedule
from s2a_core.train.types import OnEvent, PauseTraining, TrainConfig, TrainResult

METERED_STEPS = (0, 1, 2)  # the first creates the optimizer's state, the third has it all


def train(
    model: nn.Module, dataset: ImageDataset, plan: Plan, config: TrainConfig, output: Path, on_event: OnEvent
) -> TrainResult:
    """Train the model's unfrozen parameters inside `plan`; the model ends with its best state.

    Checkpoints under `output` at the beginning, at the end of each epoch, every config.checkpoint_s within one, when
    the device is out of memory with nothing half done, and on PauseTraining. With config.resume it continues from
    there with the same numbers as an uninterrupted run on CPU; without it a checkpoint there is dropped. The plan's
    storages may differ from those before: a tighter plan continues the same run. A finished run's checkpoint gives its
    result again without training: `drop_checkpoint` once that is written. Another config.lr continues at that rate.
    Raises Diverged at the first loss that is not finite; the checkpoint is then the last that gave a finite one.
    """
    if plan.device == "cpu":
        prefer_native()  # as its plan was profiled
    if not config.resume:
        drop_checkpoint(output)
    return _Run(model, dataset, plan, config, output, on_event).go()


class _Run:
    """The state of one training."""

    def __init__(
        self, model: nn.Module, dataset: ImageDataset, plan: Plan, config: TrainConfig, output: Path, on_event: OnEvent
    ) -> None:
        self.model, self.dataset, self.plan, self.config = model, dataset, plan, config
        self.output, self.on_event = output, on_event
        self.device = torch.device(plan.device)
        self.images = data_config(model, plan.image_size)
        self.train_split = dataset.train.with_transform(training_transform(self.images, config.augmentation))
        self.val_split = dataset.val.with_transform(evaluation_transform(self.images))
        self.resting = resting_modules(model, plan.adapter)
        self.estimates = any(not getattr(module, "s2a_rests", True) for module in model.modules())  # statistics
        self.optimizer = make_optimizer(model, plan.adapter, config.lr, config.weight_decay, plan.optimizer)
        self.meaning, self.task = dataset.outputs, dataset.outputs.task
        self.mix = mixing(config.mixup, config.cutmix, len(self.meaning))
        self.average = WeightAverage(model, config.ema_decay) if config.ema_decay else None
        self.steps_per_epoch = max(1, math.ceil(len(self.train_split) / plan.batch_size))
        self.total_steps = self.steps_per_epoch * config.epochs
        self.metered_steps = (*METERED_STEPS, self.steps_per_epoch * config.evaluate_every)  # a best state is there
        self.meter = RunMeter(model, self.optimizer, self.average, self.device)
        self.step, self.step_ms = 0, 0.0
        self.epoch, self.figure_sum, self.loss_sum = 1, 0.0, 0.0  # of the epoch that runs
        self.history: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.best: tuple[float, ...] = (-math.inf,)  # rank of the best epoch
        self.best_epoch = 0
        self.best_state: dict[str, Tensor] = {}
        self.best_judged: Evaluation | None = None  # of the best epoch, if that was in this process
        self.saved_at, self.session = time.perf_counter(), compress(model, plan)  # entered in every micro-batch
        self.identity = run_identity(plan, dataclasses.asdict(config), dataset.report.fingerprint)

    def go(self) -> TrainResult:
        """Every epoch, then the result."""
        release_cached(self.device)
        start, config = time.perf_counter(), self.config
        random.seed(config.seed)
        np.random.seed(config.seed)
        torch.manual_seed(config.seed)
        self.output.mkdir(parents=True, exist_ok=True)
        if config.resume:
            self._restore()
        if not self.step:
            self._save()
        while self.epoch <= config.epochs and not self._is_stopped_early():
            self._epoch()
        self.model.load_state_dict(self.best_state, strict=False)
        judged = self.best_judged or self._evaluate()
        self.meter.close()
        head = head_parameters(self.model)
        return TrainResult(
            metrics=self._metrics_of(self.history[self.best_epoch - 1]),
            final_metrics=self._metrics_of(self.history[-1]),
            best_epoch=self.best_epoch,
            epochs=len(self.history),
            history=tuple(self.history),
            measured_peak_bytes=self.meter.peak,
            measured=self.meter.levels,
            memory_timeline=tuple(self.meter.timeline),
            step_ms=self.step_ms,
            wall_s=time.perf_counter() - start,
            trainable_params=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            head_params=sum(p.numel() for n, p in self.model.named_parameters() if n in head),
            total_params=sum(p.numel() for p in self.model.parameters()),
            **judged.details,
            data_config=self.images,
            state_dict=self.best_state,
            step_losses=tuple(self.losses),
        )

    def _epoch(self) -> None:
        """What is left of the current epoch, its evaluation and its checkpoint."""
        began, epoch, plan = time.perf_counter(), self.epoch, self.plan
        order = torch.randperm(
            len(self.train_split), generator=torch.Generator().manual_seed(self.config.seed * 9973 + epoch)
        ).tolist()
        done = self.step - (epoch - 1) * self.steps_per_epoch
        groups = [split_evenly(group, plan.micro_batch) for group in split_evenly(order, plan.batch_size)[done:]]
        source = SeededSplit(self.train_split, self.config.seed, epoch, self.mix)
        micro_batches = batches(source, [part for group in groups for part in group], self.device, self.config.workers)
        for group in groups:
            self._timed_step(micro_batches, group)
        is_evaluated = epoch % self.config.evaluate_every == 0 or epoch == self.config.epochs
        val_loss, metrics = math.nan, {metric.name: math.nan for metric in self.task.metrics}
        if is_evaluated:
            averaged = self.average.applied(self.model) if self.average else contextlib.nullcontext()
            with self._saved_when_out_of_memory(), self.meter.metered(not self.best_epoch, self.best_state), averaged:
                judged = self._evaluate()
                val_loss, metrics = judged.loss, dict(judged.metrics)
                self._require_finite(val_loss)
                if (rank := self.task.rank(metrics)) > self.best:
                    self.best_state = trained_state_dict(self.model)
                    self.best, self.best_epoch, self.best_judged = rank, epoch, judged
        if not self.step_ms:
            self.step_ms = 1000 * (time.perf_counter() - began) / max(1, len(groups))
        row = {
            "epoch": epoch,
            "train_loss": self.loss_sum / len(self.train_split),
            f"train_{self.task.running.name}": self.figure_sum / len(self.train_split),
            "val_loss": val_loss,
            **{f"val_{name}": value for name, value in metrics.items()},
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": time.perf_counter() - began,
            "peak_bytes": self.meter.peak,
        }
        self.history.append(row)
        self.epoch, self.figure_sum, self.loss_sum = epoch + 1, 0.0, 0.0
        self._save()
        self.on_event({"type": "epoch", "epochs": self.config.epochs, **row})

    def _metrics_of(self, row: dict[str, Any]) -> dict[str, float]:
        """The metrics of an epoch, from its row of the history."""
        return {metric.name: float(row[f"val_{metric.name}"]) for metric in self.task.metrics}

    def _evaluate(self) -> Evaluation:
        return evaluate(self.model, self.val_split, self.plan, self.meaning)

    def _timed_step(self, micro_batches: Iterator[tuple[Tensor, Tensor]], group: list[list[int]]) -> None:
        """One optimizer step with its event, and the checkpoint that is due."""
        size, began = sum(map(len, group)), time.perf_counter()
        with self.meter.metered(self.step in self.metered_steps, self.best_state):
            with self._saved_when_out_of_memory():
                loss, figure = self._gradients(micro_batches, size, len(group))
            self._require_finite(loss)
            self._update()
        took = time.perf_counter() - began
        if self.step not in self.metered_steps:
            self.step_ms = 1000 * took if not self.step_ms else 0.9 * self.step_ms + 100 * took
        self.step += 1
        self.figure_sum, self.loss_sum = self.figure_sum + figure, self.loss_sum + loss * size
        self.losses.append(loss)
        if time.perf_counter() - self.saved_at > self.config.checkpoint_s and self.step % self.steps_per_epoch:
            self._save_sound()
        try:
            self.on_event(
                {
                    "type": "step",
                    "epoch": self.epoch,
                    "epochs": self.config.epochs,
                    "step": self.step,
                    "total_steps": self.total_steps,
                    "loss": loss,
                    self.task.running.name: figure / size,
                    "lr": self.optimizer.param_groups[0]["lr"],
                    "images_per_s": size / max(1e-9, took),
                    "peak_bytes": self.meter.peak,
                }
            )
        except PauseTraining:
            self._save_sound()
            raise

    def _require_finite(self, loss: float) -> None:
        """Raises Diverged for a loss that is not finite: what follows it would be no training."""
        if not math.isfinite(loss):
            raise Diverged(loss, self.step + 1, max(group["lr"] for group in self.optimizer.param_groups))

    def _save_sound(self) -> None:
        """A checkpoint, of weights that still give a finite loss: no step has shown that after the last update."""
        self._require_finite(evaluate(self.model, self.val_split[:1], self.plan, self.meaning).loss)
        self._save()

    def _gradients(
        self, micro_batches: Iterator[tuple[Tensor, Tensor]], size: int, num_parts: int
    ) -> tuple[float, float]:
        """Forward and backward of a step's micro-batches. Returns (mean loss, sum of the task's running figure)."""
        training_mode(self.model, self.resting)
        open_gradients(self.optimizer, num_parts)
        sums: list[Tensor] = []  # on the device: read once, after the last kernel of the step
        for _ in range(num_parts):
            x, y = next(micro_batches)
            if len(y) == 1 < self.plan.micro_batch:  # the last part
                rest_batch_norms(self.model)
            mark_phase("forward")
            with precision(self.plan), self.session:
                outputs = self.model(x)
            loss = self.task.loss(outputs.float(), y, self.config.label_smoothing)
            answers = outputs.detach().float()
            figure = self.task.running_sum(answers, y, self.meaning)
            plain = loss.detach()
            if self.config.label_smoothing and self.task.has_one_class:  # reported as in validation: without smoothing
                plain = self.task.loss(answers, y)
            sums.append(torch.stack([plain.double() * len(y), figure]))
            del outputs, answers, plain, figure  # logits of masks are large: backward does not need them
            mark_phase("backward")
            (loss * (len(y) / size)).backward()
            del loss, x, y
        loss_sum, figure_sum = torch.stack(sums).sum(0).tolist()
        return loss_sum / size, figure_sum

    def _update(self) -> None:
        """The optimizer's step, and the average's."""
        share = schedule(self.step, self.total_steps, self.config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = share * group["base_lr"]
        mark_phase("optimizer")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model)

    @contextlib.contextmanager
    def _saved_when_out_of_memory(self) -> Iterator[None]:
        """A checkpoint as of before the block, which leaves weights alone; none where it estimates statistics."""
        generators = generator_states(self.device)
        try:
            yield
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if is_out_of_memory(error) and not (self.model.training and self.estimates):
                self.optimizer.zero_grad(set_to_none=True)
                self._save(generators)
            raise

    def _is_stopped_early(self) -> bool:
        evaluated = [row for row in self.history if not math.isnan(row["val_loss"])]
        since = sum(row["epoch"] > self.best_epoch for row in evaluated)
        return self.config.patience is not None and bool(evaluated) and since >= self.config.patience

    def _save(self, generators: dict[str, Any] | None = None) -> None:
        meter = self.meter
        records = [self.history, self.losses, meter.timeline, meter.peak, meter.levels, self.step_ms]
        state = {
            "identity": self.identity,
            "position": [self.epoch, self.step, self.figure_sum, self.loss_sum],
            "model": trained_state_dict(self.model),
            "buffers": {n: b.detach().cpu() for n, b in self.model.named_buffers() if b.numel()},
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state() if self.average else {},
            "best": [list(self.best), self.best_epoch, self.best_state],
            "records": json.dumps(records),
        }
        save_checkpoint(self.output, state, generators, self.device)
        self.saved_at = time.perf_counter()

    def _restore(self) -> None:
        """Go on where the checkpoint was written, if there is one."""
        state = load_checkpoint(self.output, self.identity, self.device)
        if state is None:
            return
        self.model.load_state_dict({**state["model"], **state["buffers"]}, strict=False)
        rates = [group["base_lr"] for group in self.optimizer.param_groups]  # of this config, maybe smaller ones
        self.optimizer.load_state_dict(state["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["base_lr"] = rate
        if self.average is not None:
            self.average.restore(state["average"])
        self.epoch, self.step, self.figure_sum, self.loss_sum = state["position"]
        rank, self.best_epoch, self.best_state = state["best"]
        self.best = tuple(rank) if isinstance(rank, list) else (rank,)  # older ones hold an accuracy
        meter = self.meter
        self.history, self.losses, meter.timeline, meter.peak, meter.levels, self.step_ms = json.loads(state["records"])
        message = f"resumed after step {self.step} of {self.total_steps}"
        self.on_event({"type": "log", "message": message, "step": self.step, "epoch": self.epoch})
