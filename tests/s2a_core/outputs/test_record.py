"""The report says what ran and how to repeat it."""

import dataclasses
from pathlib import Path

from s2a_core.datasets import ImageSplit, Sample
from s2a_core.outputs.record import _FROM_PLAN, _FROM_RESULT, _examples, command_line
from s2a_core.planning import Plan
from s2a_core.train import TrainResult
from tests.s2a_core.runs import few_digits


def test_the_command_line_repeats_the_run() -> None:
    request = {"model": "m", "data": "digits", "budget_bytes": 5, "seed": 3, "output": "out"}
    assert command_line(request) == "s2a train m --data digits --budget 5 --weights none --seed 3 --output out"
    assert command_line({}) is None


def test_a_file_that_went_away_costs_its_picture_only(tmp_path: Path) -> None:
    digits = few_digits()
    gone = Sample("gone.png", tmp_path / "gone.png", 0)
    data = dataclasses.replace(digits, val=ImageSplit((gone, *digits.val.samples)))
    wrong = {"label": 0, "predicted": 1, "probability": 0.5}
    rows = _examples([{**wrong, "index": 0}, {**wrong, "index": 1}], data)
    assert [(row["name"], "thumbnail" in row) for row in rows] == [
        ("gone.png", False),
        (digits.val.samples[0].name, True),
    ]


def test_every_field_of_a_report_has_a_producer() -> None:
    assert set(_FROM_RESULT) <= {field.name for field in dataclasses.fields(TrainResult)}
    assert set(_FROM_PLAN) <= {field.name for field in dataclasses.fields(Plan)}
