"""Numbers of an image: metrics are scikit-learn's in the units of the data, whatever training standardises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score

from s2a_core.tasks.regression import TASK
from s2a_core.tasks.task import Outputs

MEANING = Outputs(TASK, ("age", "height"), mean=(40.0, 1.7), std=(12.0, 0.1))


def test_metrics_are_those_of_scikit_learn_in_the_units_of_the_data() -> None:
    torch.manual_seed(0)
    truth = torch.randn(30, 2)
    outputs = truth + 0.3 * torch.randn(30, 2)
    judge = TASK.judge(MEANING)
    for part in (slice(0, 16), slice(16, 30)):
        judge.add(outputs[part], truth[part])
    judged = judge.evaluation(0.1)
    raw = [part.double().numpy() * [12.0, 0.1] + [40.0, 1.7] for part in (truth, outputs)]
    assert judged.metrics["r2"] == pytest.approx(r2_score(*raw))
    assert judged.metrics["mae"] == pytest.approx(mean_absolute_error(*raw))
    of_columns = mean_absolute_error(*raw, multioutput="raw_values")
    assert [row["mae"] for row in judged.by_output] == pytest.approx(of_columns)
    errors = np.abs((outputs - truth).numpy()).mean(1)
    assert [row["index"] for row in judged.mistakes] == np.argsort(-errors, kind="stable").tolist()
    running = TASK.running_sum(outputs, truth, MEANING) / 30
    assert float(running) == pytest.approx(judged.metrics["mae"], rel=1e-5)


def test_targets_that_are_all_the_same_explain_nothing() -> None:
    judge = TASK.judge(Outputs(TASK, ("age",), (40.0,), (12.0,)))
    judge.add(torch.zeros(4, 1), torch.ones(4, 1))
    assert judge.evaluation(0.0).metrics["r2"] == 0.0


def test_the_loss_is_a_mean_over_samples_and_columns() -> None:
    outputs, targets = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert float(TASK.loss(outputs, targets)) == pytest.approx(9 / 4)
    assert float(TASK.loss(outputs, targets, reduction="sum")) == pytest.approx(9 / 2)


def test_targets_are_standardised_and_predictions_turned_back() -> None:
    assert TASK.scale is not None
    mean, std = TASK.scale([(1.0, 5.0), (3.0, 5.0)])
    assert (mean, std) == ((2.0, 5.0), (1.0, 0.0))
    assert MEANING.standardised((52.0, 1.6)) == pytest.approx((1.0, -1.0))
    (first,) = TASK.answers.of(torch.tensor([[1.0, -1.0]]), MEANING, 5)
    assert TASK.answers.row(first) == {"values": pytest.approx({"age": 52.0, "height": 1.6})}
    assert (TASK.answers.columns(MEANING, 5), TASK.answers.cells(first)) == (["age", "height"], ["52", "1.6"])
    assert TASK.answers.words(first) == ("age 52, height 1.6", "")


def test_a_cell_that_is_no_finite_number_is_named() -> None:
    reader = TASK.columns.reader({"age": ["1", "2"], "height": ["1", "2"]})
    assert reader.flaw(["1", "-2.5e3"]) == ""
    assert reader.flaw(["NaN", ""]) == "age is NaN, height is empty, not a finite number"
    assert reader.flaw(["1", "inf"]) == "height is inf, not a finite number"
    assert reader.read([["1", "-2.5e3"]]).targets == [(1.0, -2500.0)]
