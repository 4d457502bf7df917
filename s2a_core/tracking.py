"""Sends the numbers of a run to TensorBoard, MLflow or Weights & Biases, through those libraries.

Each reads its own settings: MLFLOW_TRACKING_URI, WANDB_MODE=offline and the like. TensorBoard's files lie in the run's
directory.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from s2a_core.errors import InvalidInput
from s2a_core.tasks import METRICS
from s2a_core.train.types import Event, OnEvent

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}  # tracker -> what it imports
TRACKERS = tuple(PACKAGES)
PROJECT = "s2a"
STEP = ("loss", *METRICS, "lr", "images_per_s", "peak_bytes")
EPOCH = ("train_loss", "val_loss", *(f"{split}_{name}" for name in METRICS for split in ("train", "val")))
FINAL = ("measured_peak_bytes", "predicted_peak_bytes", "budget_bytes", "trainable_params", "wall_s")


class Tracker(Protocol):
    """One run in one library."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at an optimizer step."""

    def close(self) -> None:
        """End the run."""


def require_tracker(name: str) -> None:
    """Raises InvalidInput for a tracker there is not, or whose package is missing."""
    if name not in PACKAGES:
        raise InvalidInput(f"--track takes {', '.join(TRACKERS)}, not {name!r}", details={"allowed": list(TRACKERS)})
    if importlib.util.find_spec(PACKAGES[name]) is None:
        raise InvalidInput(f"--track {name} needs its package: pip install 's2a[{name}]'", details={"missing": [name]})


@contextlib.contextmanager
def tracked(name: str | None, output: Path, fields: Mapping[str, Any], on_event: OnEvent) -> Iterator[Tracking]:
    """Events that pass through are sent on and tracked. name: of TRACKERS, None for none; fields: of the request."""
    tracker = None if name is None else _OPEN[name](output, {k: v for k, v in fields.items() if v is not None})
    tracking = Tracking(name or "", tracker, on_event)
    try:
        yield tracking
    finally:
        tracking.close()


class Tracking:
    """Takes events. A library that fails is reported once and left out from then on: the run is worth more."""

    def __init__(self, name: str, tracker: Tracker | None, on_event: OnEvent) -> None:
        self._name, self._tracker, self._on_event, self._step = name, tracker, on_event, 0

    def __call__(self, event: Event) -> None:
        """Track the numbers of a step or an epoch, and pass the event on."""
        if event["type"] == "step":
            self._step = int(event["step"])
            self._send({f"step/{key}": event[key] for key in STEP if event.get(key) is not None})
        elif event["type"] == "epoch":
            self._send({f"epoch/{key}": event[key] for key in EPOCH if event.get(key) is not None})
        self._on_event(event)

    def finish(self, report: Mapping[str, Any]) -> None:
        """Track what the whole run came to."""
        values = {**report, **(report.get("metrics") or {})}
        self._send({f"run/{key}": values[key] for key in (*METRICS, *FINAL) if values.get(key) is not None})

    def close(self) -> None:
        """End the tracker's run."""
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None

    def _send(self, values: Mapping[str, Any]) -> None:
        finite = {key: float(value) for key, value in values.items() if float(value) - float(value) == 0}
        if self._tracker is None:
            return
        try:
            self._tracker.scalars(finite, self._step)
        except Exception as error:  # another library's boundary, maybe its server's: training goes on without it
            self._tracker = None
            message = f"{self._name} is no longer told of this run: {type(error).__name__}: {error}"
            self._on_event({"type": "warning", "message": message})


class _TensorBoard:
    def __init__(self, output: Path, fields: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(output / "tensorboard"))
        table = "\n".join(f"| {key} | {value} |" for key, value in fields.items())
        self._writer.add_text("request", f"| field | value |\n|---|---|\n{table}")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    def __init__(self, output: Path, fields: Mapping[str, Any]) -> None:
        import mlflow

        self._mlflow = mlflow
        if mlflow.get_experiment_by_name(PROJECT) is None:
            mlflow.create_experiment(PROJECT)
        mlflow.set_experiment(PROJECT)
        mlflow.start_run(run_name=output.name)
        mlflow.log_params(dict(fields))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self._mlflow.end_run()


class _Wandb:
    def __init__(self, output: Path, fields: Mapping[str, Any]) -> None:
        import wandb

        output.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(project=PROJECT, name=output.name, dir=str(output), config=dict(fields))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


_OPEN: dict[str, Callable[[Path, Mapping[str, Any]], Tracker]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _Wandb,
}
