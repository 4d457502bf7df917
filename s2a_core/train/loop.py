"""The training loop: micro-batches inside `compress`, cosine with warm-up, evaluation, best state, metered steps."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from s2a_core.adapters import trained_state_dict
from s2a_core.compression import compress
from s2a_core.datasets import ImageDataset, ImageSplit
from s2a_core.meter import PeakMeter, live_bytes
from s2a_core.models import data_config, head_parameters
from s2a_core.planning.types import Plan
from s2a_core.train.checkpoint import drop_checkpoint, load_checkpoint, save_checkpoint
from s2a_core.train.images import evaluation_transform, training_transform
from s2a_core.train.types import OnEvent, TrainConfig, TrainResult

# AdamW's rate by what is trained; the largest kind decides. From design.md's ranges, head and biases like it high.
LEARNING_RATES = {"full": 3e-4, "lora": 1e-3, "norm": 3e-3, "bias": 3e-3, "prompt": 3e-3, "side": 2e-3, "head": 3e-3}
METERED_STEPS = (0, 1, 2)  # the first creates the optimizer's state, the third has it all


def train(
    model: nn.Module, dataset: ImageDataset, plan: Plan, config: TrainConfig, output: Path, on_event: OnEvent
) -> TrainResult:
    """Train the model's unfrozen parameters inside `plan`; the model ends with its best state.

    Checkpoints each epoch under `output`; with config.resume it continues from there with the same numbers as an
    uninterrupted run on CPU.
    """
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
        self.train_split = dataset.train.with_transform(training_transform(self.images))
        self.val_split = dataset.val.with_transform(evaluation_transform(self.images))
        self.optimizer = self._make_optimizer()
        self.steps_per_epoch = max(1, math.ceil(len(self.train_split) / plan.batch_size))
        self.total_steps = self.steps_per_epoch * config.epochs
        self.step, self.peak, self.step_ms = 0, 0, 0.0
        self.timeline: list[tuple[float, int]] = []
        self.levels: dict[str, int] = {}
        self.history: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.best, self.best_epoch = -1.0, 0
        self.best_state: dict[str, Tensor] = {}
        self.identity = hashlib.sha256(
            json.dumps(
                [plan.fingerprint, plan.batch_size, config.epochs, config.seed, dataset.report.fingerprint]
            ).encode()
        ).hexdigest()

    def go(self) -> TrainResult:
        """Every epoch, then the result."""
        start, config = time.perf_counter(), self.config
        random.seed(config.seed)
        np.random.seed(config.seed)
        torch.manual_seed(config.seed)
        first = self._restore() if config.resume else 1
        for epoch in range(first, config.epochs + 1):
            self._epoch(epoch)
        final = float(self.history[-1]["val_accuracy"])
        self.model.load_state_dict(self.best_state, strict=False)
        confusion, mistakes = self._judge()
        drop_checkpoint(self.output)
        head = head_parameters(self.model)
        return TrainResult(
            accuracy=self.best,
            final_accuracy=final,
            best_epoch=self.best_epoch,
            epochs=config.epochs,
            history=tuple(self.history),
            measured_peak_bytes=self.peak,
            measured=self.levels,
            memory_timeline=tuple(self.timeline),
            step_ms=self.step_ms,
            wall_s=time.perf_counter() - start,
            trainable_params=sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            head_params=sum(p.numel() for n, p in self.model.named_parameters() if n in head),
            total_params=sum(p.numel() for p in self.model.parameters()),
            confusion=confusion,
            mistakes=mistakes,
            data_config=self.images,
            state_dict=self.best_state,
            step_losses=tuple(self.losses),
        )

    def _epoch(self, epoch: int) -> None:
        began = time.perf_counter()
        order = torch.randperm(
            len(self.train_split), generator=torch.Generator().manual_seed(self.config.seed * 9973 + epoch)
        )
        right = 0
        total_loss = 0.0
        for number in range(self.steps_per_epoch):
            chosen = order[number * self.plan.batch_size : (number + 1) * self.plan.batch_size].tolist()
            step_start = time.perf_counter()
            with self._metered(self.step in METERED_STEPS):
                loss, hits = self._step(chosen)
            if self.step not in METERED_STEPS:
                took = 1000 * (time.perf_counter() - step_start)
                self.step_ms = took if not self.step_ms else 0.9 * self.step_ms + 0.1 * took
            self.step += 1
            right, total_loss = right + hits, total_loss + loss * len(chosen)
            self.losses.append(loss)
            self.on_event(
                {
                    "type": "step",
                    "epoch": epoch,
                    "epochs": self.config.epochs,
                    "step": self.step,
                    "total_steps": self.total_steps,
                    "loss": loss,
                    "accuracy": hits / len(chosen),
                    "lr": self.optimizer.param_groups[0]["lr"],
                    "images_per_s": len(chosen) / max(1e-9, time.perf_counter() - step_start),
                    "peak_bytes": self.peak,
                }
            )
        with self._metered(epoch == 1):
            val_loss, val_accuracy = self._evaluate()
        if not self.step_ms:
            self.step_ms = 1000 * (time.perf_counter() - began) / self.steps_per_epoch
        row = {
            "epoch": epoch,
            "train_loss": total_loss / len(self.train_split),
            "train_accuracy": right / len(self.train_split),
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": time.perf_counter() - began,
            "peak_bytes": self.peak,
        }
        self.history.append(row)
        if val_accuracy > self.best:
            self.best, self.best_epoch = val_accuracy, epoch
            self.best_state = trained_state_dict(self.model)
        self._save(epoch)
        self.on_event({"type": "epoch", "epochs": self.config.epochs, **row})

    def _step(self, chosen: Sequence[int]) -> tuple[float, int]:
        """One optimizer step over micro-batches. Returns (mean loss, right answers)."""
        rate = self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["base_lr"]
        self.model.train()
        self._freeze_statistics()
        loss_sum, right = 0.0, 0
        for start in range(0, len(chosen), self.plan.micro_batch):
            part = chosen[start : start + self.plan.micro_batch]
            x, y = self._load(self.train_split, part)
            with self._precision(), compress(self.model, self.plan):
                logits = self.model(x)
            loss = functional.cross_entropy(logits.float(), y, label_smoothing=self.config.label_smoothing)
            (loss * (len(part) / len(chosen))).backward()
            loss_sum += float(loss.detach()) * len(part)
            right += int((logits.detach().argmax(-1) == y).sum())
            del logits, loss, x, y
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss_sum / len(chosen), right

    @torch.no_grad()
    def _evaluate(self) -> tuple[float, float]:
        """(mean loss, accuracy) over the validation images."""
        loss, right = 0.0, 0
        for logits, y in self._validation():
            loss += float(functional.cross_entropy(logits, y, reduction="sum"))
            right += int((logits.argmax(-1) == y).sum())
        return loss / len(self.val_split), right / len(self.val_split)

    @torch.no_grad()
    def _judge(self) -> tuple[tuple[tuple[int, ...], ...], tuple[dict[str, Any], ...]]:
        """Confusion counts [true][predicted] and the mistakes with their probabilities."""
        num = len(self.dataset.classes)
        counts = torch.zeros(num, num, dtype=torch.long)
        mistakes: list[dict[str, Any]] = []
        index = 0
        for logits, y in self._validation():
            best = logits.softmax(-1).max(-1)
            rows = zip(y.tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
            for label, predicted, probability in rows:
                counts[label, predicted] += 1
                if label != predicted:
                    mistakes.append(
                        {"index": index, "label": label, "predicted": predicted, "probability": probability}
                    )
                index += 1
        mistakes.sort(key=lambda m: -m["probability"])
        return tuple(map(tuple, counts.tolist())), tuple(mistakes[:50])

    def _validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.model.eval()
        for start in range(0, len(self.val_split), self.plan.micro_batch):
            part = list(range(start, min(start + self.plan.micro_batch, len(self.val_split))))
            x, y = self._load(self.val_split, part)
            with self._precision(), compress(self.model, self.plan):
                logits = self.model(x).float()
            yield logits, y

    def _load(self, split: ImageSplit, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """([B, 3, H, W], [B]) on the device."""
        pairs = [split[i] for i in indices]
        x = torch.stack([image for image, _ in pairs]).to(self.device)
        return x, torch.tensor([label for _, label in pairs], device=self.device)

    def _rate(self) -> float:
        """Share of the base rate: linear warm-up, then cosine to zero."""
        warm = max(1, round(self.config.warmup * self.total_steps))
        if self.step < warm:
            return (self.step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (self.step - warm) / max(1, self.total_steps - warm)))

    def _make_optimizer(self) -> torch.optim.Optimizer:
        kinds = self.plan.adapter.replace("+", ",").split(",")
        rate = self.config.lr or min(LEARNING_RATES.get(kind, 1e-3) for kind in kinds)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        decayed, plain = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
        groups = [
            {"params": params, "weight_decay": decay, "base_lr": rate}
            for params, decay in ((decayed, self.config.weight_decay), (plain, 0.0))
            if params
        ]
        return torch.optim.AdamW(groups, lr=rate)

    def _freeze_statistics(self) -> None:
        """BatchNorm keeps its statistics unless everything is trained."""
        if "full" not in self.plan.adapter:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if self.plan.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _metered(self, wanted: bool) -> Iterator[None]:
        """Keep the peak over the block: what was alive before and what was allocated inside."""
        if not wanted:
            yield
            return
        before = live_bytes(self.model, self.optimizer)
        with PeakMeter(self.device) as meter:
            yield
        if before + meter.peak_bytes > self.peak:
            self.peak = before + meter.peak_bytes
        if meter.timeline and self.model.training:
            self.timeline = [(at, before + size) for at, size in meter.timeline]
        self.levels = {"allocated" if self.device.type == "cuda" else "live": self.peak}
        if meter.reserved_bytes:
            self.levels |= {"reserved": meter.reserved_bytes, "device": meter.device_bytes}

    def _save(self, epoch: int) -> None:
        save_checkpoint(
            self.output,
            {
                "identity": self.identity,
                "epoch": epoch,
                "step": self.step,
                "model": trained_state_dict(self.model),
                "buffers": {n: b.detach().cpu() for n, b in self.model.named_buffers() if b.numel()},
                "optimizer": self.optimizer.state_dict(),
                "best": [self.best, self.best_epoch, self.best_state],
                "records": json.dumps([self.history, self.losses, self.timeline, self.peak, self.levels, self.step_ms]),
            },
        )

    def _restore(self) -> int:
        """The epoch to begin with."""
        state = load_checkpoint(self.output, self.identity)
        if state is None:
            return 1
        self.model.load_state_dict({**state["model"], **state["buffers"]}, strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = int(state["step"])
        self.best, self.best_epoch, self.best_state = state["best"]
        self.history, self.losses, self.timeline, self.peak, self.levels, self.step_ms = json.loads(state["records"])
        self.on_event({"type": "log", "message": f"resumed after epoch {state['epoch']}"})
        return int(state["epoch"]) + 1
