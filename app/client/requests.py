"""Asking for jobs and plans: every field of a request as a keyword, so that editors and notebooks complete them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from s2a_core.fields import require_known

Document = dict[str, Any]
Objective = Literal["accuracy", "speed", "balanced"]
Precision = Literal["fp32", "bf16"]
WeightFormat = Literal["auto", "float", "int8", "nf4"]
Optimizer = Literal["adamw", "adamw8bit"]
Task = Literal["classification", "multilabel", "regression", "segmentation"]
Device = Literal["cpu", "cuda"]


class Requests:
    """The two methods of a client whose keywords are a request's fields. None is nothing said."""

    def submit(
        self,
        *,
        model: str | None = None,
        data: str | None = None,
        budget: int | str | None = None,
        plan: str | None = None,
        weights: str | None = None,
        task: Task | None = None,
        adapter: str | None = None,
        objective: Objective | None = None,
        batch_size: int | None = None,
        image_size: int | str | None = None,
        precision: Precision | None = None,
        weight_format: WeightFormat | None = None,
        optimizer: Optimizer | None = None,
        device: Device | None = None,
        seed: int | None = None,
        epochs: int | None = None,
        lr: float | None = None,
        patience: int | None = None,
        ema_decay: float | None = None,
        augmentation: Literal["mild", "timm", "none"] | None = None,
        weight_decay: float | None = None,
        warmup: float | None = None,
        label_smoothing: float | None = None,
        mixup: float | None = None,
        cutmix: float | None = None,
        drop_path: float | None = None,
        workers: int | None = None,
        priority: Literal["low", "normal", "high"] | None = None,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        **unknown: object,
    ) -> Document:
        """Queue a job of POST /v1/jobs, from model, data and budget or from a plan's id.

        A lost answer is asked for again: one job. Raises UnknownField with the nearest name for another keyword.
        """
        return self._make("/v1/jobs", _fields(locals()))

    def plan(
        self,
        *,
        model: str | None = None,
        budget: int | str | None = None,
        data: str | None = None,
        num_classes: int | None = None,
        weights: str | None = None,
        task: Task | None = None,
        adapter: str | None = None,
        objective: Objective | None = None,
        batch_size: int | None = None,
        image_size: int | str | None = None,
        precision: Precision | None = None,
        weight_format: WeightFormat | None = None,
        optimizer: Optimizer | None = None,
        device: Device | None = None,
        seed: int | None = None,
        ema_decay: float | None = None,
        drop_path: float | None = None,
        **unknown: object,
    ) -> Document:
        """Ask for a plan of POST /v1/plans. Raises UnknownField with the nearest name for another keyword."""
        return self._make("/v1/plans", _fields(locals()))

    def _make(self, path: str, request: Document) -> Document:
        """POST what makes something."""
        raise NotImplementedError


def _fields(arguments: Document) -> Document:
    """The keywords of a call; one that the method does not have is refused."""
    known = {name: value for name, value in arguments.items() if name not in ("self", "unknown")}
    require_known(arguments["unknown"], known)
    return known
