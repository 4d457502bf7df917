"""What a plan is best at: how errors weigh beside time, and what is no difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from s2a_core.planning.types import FrontierPoint

Objective = Literal["accuracy", "speed", "balanced"]
# Below this relative error the gradient's own sampling noise hides the difference (two exact batches differ by 1.65).
NEGLIGIBLE_ERROR = 0.01
# `balanced`: a relative gradient error of 0.1 weighs as much as 1 % of the step's time.
ERROR_WEIGHT = 1.0
SPEED_ERROR_WEIGHT = 1e-3


def monotone(points: list[FrontierPoint], objective: Objective) -> Iterator[FrontierPoint]:
    """Points that never get worse with the budget: a larger budget may always use a smaller one's plan."""

    def badness(point: FrontierPoint) -> tuple[float, float]:
        if objective == "accuracy":
            return max(point.gradient_error, NEGLIGIBLE_ERROR), point.relative_step_time
        return point.relative_step_time + error_weight(objective) * point.gradient_error**2, 0.0

    best: FrontierPoint | None = None
    for point in points:
        if best is not None and badness(point) > badness(best):
            point = replace(best, budget_bytes=point.budget_bytes)
        best = point
        yield point


def error_weight(objective: Objective) -> float:
    """What a squared error weighs beside the share of the step's time."""
    return ERROR_WEIGHT if objective == "balanced" else SPEED_ERROR_WEIGHT
