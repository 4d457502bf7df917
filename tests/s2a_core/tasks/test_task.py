"""Tasks are what their declarations say, and nobody else asks which one it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from s2a_core.requests import FIELDS
from s2a_core.tasks import CLASSIFICATION, FILES, METRICS, SEGMENTATION, TASKS, classes, metrics_of, outputs_of, task_of

ROOT = Path(__file__).resolve().parents[3]
LITERALS = (
    "app/schemas/jobs.py",
    "app/client/requests.py",  # and the one before: what editors complete; tests/app/test_doors.py checks them
    "s2a_core/datasets/coco.py",  # a key of COCO's format
)


def test_every_file_declares_a_task_and_every_task_can_be_asked_for() -> None:
    parts = {"__init__", "task", "cells"}
    assert {path.stem for path in (ROOT / "s2a_core/tasks").glob("*.py")} - parts == set(FILES)
    assert FIELDS["task"].choices == tuple(TASKS)
    assert set(METRICS) >= {metric.name for task in TASKS.values() for metric in task.metrics}


def test_no_code_outside_of_the_declarations_asks_which_task_it_is() -> None:
    names = set(TASKS) - {CLASSIFICATION.name}  # what holds where nothing is said
    compared = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in ("s2a_core", "app")
        for path in (ROOT / package).rglob("*.py")
        if path.parent.name != "tasks" and path.relative_to(ROOT).as_posix() not in LITERALS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not compared


def test_a_report_of_before_there_were_tasks_is_of_classification() -> None:
    report = {"classes": ["a", "b"], "accuracy": 0.75}
    assert (task_of(report), outputs_of(report)) == (CLASSIFICATION, classes(["a", "b"]))
    ((metric, value),) = metrics_of(report)
    assert metric.text(value) == "75.0 %"
    assert metrics_of({}) == []


def test_metrics_say_which_way_is_better_and_break_ties() -> None:
    assert METRICS["mae"].rank(1.0) > METRICS["mae"].rank(2.0)
    assert METRICS["map"].rank(0.9) > METRICS["map"].rank(0.8)
    rank = TASKS["multilabel"].rank
    assert rank({"map": 1.0, "f1": 0.9}) > rank({"map": 1.0, "f1": 0.8}) > rank({"map": 0.9, "f1": 1.0})
    assert [METRICS[name].title for name in ("accuracy", "map", "r2")] == ["Accuracy", "mAP", "R²"]
    assert METRICS["mae"].text(0.12345) == "0.123"


def test_a_task_says_itself_and_how_it_was_known() -> None:
    assert TASKS["regression"].sentence("as asked") == "regression, numbers of an image (as asked)"
    assert CLASSIFICATION.sentence("") == "classification, one class an image"


@pytest.mark.parametrize("name", TASKS)
def test_losses_of_parts_add_up_to_that_of_the_whole(name: str) -> None:
    """Micro-batches are weighted by their samples: the mean of all is that of the parts."""
    import torch

    torch.manual_seed(0)
    outputs = torch.randn(6, 3)
    targets = torch.randint(3, (6,)) if TASKS[name].has_one_class else (torch.rand(6, 3) > 0.5).float()
    if TASKS[name] is SEGMENTATION:
        outputs, targets = torch.randn(6, 3, 4, 5), torch.randint(3, (6, 4, 5)).byte()
        targets[1, 2:], targets[3] = 255, 255  # pixels that are ignored, and a whole image of them
    whole = TASKS[name].loss(outputs, targets)
    parts = [TASKS[name].loss(outputs[s], targets[s], reduction="sum") for s in (slice(0, 2), slice(2, 6))]
    assert float(sum(parts)) / 6 == pytest.approx(float(whole))
