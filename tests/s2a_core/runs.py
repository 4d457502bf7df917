"""A plan and a tiny dataset made by hand, so that training is tested without profiling, and runs that are cut."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest

from s2a_core import pipeline
from s2a_core.datasets import ImageDataset, open_dataset
from s2a_core.planning.types import Plan, Predicted, SolverReport
from s2a_core.requests import RunRequest
from s2a_core.train.types import PauseTraining


def hand_plan(adapter: str = "bias", batch_size: int = 16, micro_batch: int = 8) -> Plan:
    """Everything exact on s2a_tiny."""
    return Plan(
        model="s2a_tiny",
        adapter=adapter,
        image_size=32,
        precision="fp32",
        device="cpu",
        batch_size=batch_size,
        micro_batch=micro_batch,
        accumulation=batch_size // micro_batch,
        chunk_samples=0,
        frozen_weights="keep",
        sites={},
        mean_bits=32.0,
        predicted=Predicted(200 * 2**20, {"weights": 2 * 2**20}, 0.0, 1.0),
        solver=SolverReport("by hand", 0.0, 0.0),
        budget_bytes=256 * 2**20,
        min_feasible_budget_bytes=2**20,
        fingerprint="by-hand",
    )


@functools.cache
def _digits() -> ImageDataset:
    return open_dataset("digits")


def few_digits(train: int = 48, val: int = 24) -> ImageDataset:
    """The first digits, still of ten classes."""
    digits = _digits()
    step = len(digits.train) // train, len(digits.val) // val
    return dataclasses.replace(digits, train=digits.train[:: step[0]][:train], val=digits.val[:: step[1]][:val])


def pause_in_the_second_step(request: RunRequest) -> None:
    """Runs a request until it is paused there, as the queue pauses a job."""

    def pause(event: dict[str, Any]) -> None:
        if event.get("step") == 2:
            raise PauseTraining

    with pytest.raises(PauseTraining):
        pipeline.run(request, pause)
