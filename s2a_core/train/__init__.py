"""Training inside a plan: transforms, the loop, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s2a_core.train.types import Event, PauseTraining, TrainConfig, TrainResult

if TYPE_CHECKING:
    from s2a_core.train.loop import train

__all__ = ["Event", "PauseTraining", "TrainConfig", "TrainResult", "train"]


def __getattr__(name: str) -> Any:
    if name != "train":
        raise AttributeError(f"module 's2a_core.train' has no attribute {name!r}")
    from s2a_core.train.loop import train

    return train
