"""What a training run takes and gives. Imports no torch at run time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


class PauseTraining(Exception):
    """Raised by an `on_event` on a step or an epoch: the loop writes a checkpoint and lets it pass."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train. lr: None takes the adapter's default; label_smoothing, weight_decay, warmup: shares.

    evaluate_every: epochs between evaluations, the last is always one; patience: evaluations without a better accuracy
    after which training stops; ema_decay: of an average of the weights that is evaluated and kept instead of the last
    ones; augmentation: one of train.images.AUGMENTATIONS; mixup, cutmix: alphas of timm's, 0 is without;
    checkpoint_s: seconds between checkpoints within an epoch,
    there is one at the end of each; workers: processes that read images ahead, None takes the device's usual.
    """

    epochs: int = 5
    seed: int = 0
    lr: float | None = None
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    warmup: float = 0.1
    evaluate_every: int = 1
    patience: int | None = None
    ema_decay: float | None = None
    augmentation: str = "mild"
    mixup: float = 0.0
    cutmix: float = 0.0
    workers: int | None = None
    checkpoint_s: float = 60.0
    resume: bool = False


@dataclass(frozen=True)
class TrainResult:
    """A finished training. metrics, final_metrics: of the task on validation, in the best and in the last epoch; bytes
    and milliseconds as named.

    measured_peak_bytes: maximum over metered training steps and an evaluation step, weights and optimizer included.
    epochs: those that ran; memory_timeline: (ms, bytes, phase) of one step; state_dict: trained tensors, best epoch.
    """

    metrics: Mapping[str, float]
    final_metrics: Mapping[str, float]
    best_epoch: int
    epochs: int
    history: tuple[Mapping[str, Any], ...]
    measured_peak_bytes: int
    measured: Mapping[str, int]
    memory_timeline: tuple[tuple[float, int, str], ...]
    step_ms: float
    wall_s: float
    trainable_params: int
    head_params: int
    total_params: int
    confusion: tuple[tuple[int, ...], ...]
    mistakes: tuple[Mapping[str, Any], ...]
    data_config: Mapping[str, Any]
    state_dict: Mapping[str, Tensor]
    step_losses: tuple[float, ...] = ()
    correct: tuple[Mapping[str, Any], ...] = ()
    by_output: tuple[Mapping[str, Any], ...] = ()

    @property
    def accuracy(self) -> float | None:
        """Best on validation, 0..1; None for a task without it."""
        return self.metrics.get("accuracy")

    @property
    def final_accuracy(self) -> float | None:
        """Of the last epoch."""
        return self.final_metrics.get("accuracy")
