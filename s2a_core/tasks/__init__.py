"""The registry of tasks: each is a file of this folder that declares TASK, and one line here.

Words of `--task`, reading tables, losses, metrics, reports and the writing of predictions derive from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from s2a_core.tasks.task import Metric, Outputs, Task

# In the order in which help and forms name them.
FILES = ("classification", "multilabel", "regression", "segmentation")

TASKS: dict[str, Task] = {task.name: task for task in (import_module(f"s2a_core.tasks.{file}").TASK for file in FILES)}
METRICS: dict[str, Metric] = {metric.name: metric for task in TASKS.values() for metric in task.shown}
CLASSIFICATION, SEGMENTATION = TASKS["classification"], TASKS["segmentation"]


def classes(names: Sequence[str] | int) -> Outputs:
    """The outputs of a classifier: the names of its classes, or how many there are."""
    return Outputs(CLASSIFICATION, tuple(map(str, range(names) if isinstance(names, int) else names)))


def outputs_of(report: Mapping[str, Any]) -> Outputs:
    """What the outputs of a finished run mean, from its report.json."""
    scale = (report.get("dataset") or {}).get("scale") or {}
    return Outputs(
        task_of(report), tuple(map(str, report["classes"])), tuple(scale.get("mean", ())), tuple(scale.get("std", ()))
    )


def task_of(document: Mapping[str, Any]) -> Task:
    """The task that a report, plan or summary is of; classification where it says none."""
    return TASKS.get(str(document.get("task")), CLASSIFICATION)


def metrics_of(report: Mapping[str, Any]) -> list[tuple[Metric, float]]:
    """The metrics of a report's best epoch with their values, the one that decided first."""
    values = report.get("metrics") or {"accuracy": report.get("accuracy")}
    return [
        (metric, float(values[metric.name]))
        for metric in task_of(report).metrics
        if values.get(metric.name) is not None
    ]
