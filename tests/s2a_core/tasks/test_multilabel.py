"""Several labels an image: metrics are scikit-learn's, columns and separators are read, answers are probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch.nn import functional

from s2a_core.tasks.multilabel import TASK, average_precision
from s2a_core.tasks.task import Cells, Outputs

MEANING = Outputs(TASK, ("red", "blue", "ring", "rare"))


def answers(num: int = 40, has_ties: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels [N, 4]; the last label has no image."""
    torch.manual_seed(0)
    logits, labels = torch.randn(num, 4), (torch.rand(num, 4) < 0.4).float()
    labels[:, 3] = 0
    return (logits * 2).round() if has_ties else logits, labels


@pytest.mark.parametrize("has_ties", [False, True])
def test_metrics_are_those_of_scikit_learn(has_ties: bool) -> None:
    logits, labels = answers(has_ties=has_ties)
    judge = TASK.judge(MEANING)
    for part in range(0, 40, 16):
        judge.add(logits[part : part + 16], labels[part : part + 16])
    judged = judge.evaluation(0.5)
    scores = logits.sigmoid().numpy()
    expected = [average_precision_score(labels[:, i], scores[:, i]) for i in range(3)]
    *known, of_none = [row["average_precision"] for row in judged.by_output]
    assert known == pytest.approx(expected, rel=1e-6)
    assert of_none is None
    assert judged.metrics["map"] == pytest.approx(sum(expected) / 3, rel=1e-6)
    assert judged.metrics["f1"] == pytest.approx(f1_score(labels, scores > 0.5, average="micro"))
    assert [row["images"] for row in judged.by_output] == labels.sum(0).tolist()


def test_a_perfect_ranking_is_one_and_no_image_is_no_figure() -> None:
    assert average_precision(torch.tensor([0.1, 0.9, 0.8]), torch.tensor([False, True, True])) == 1.0
    assert average_precision(torch.tensor([0.1, 0.9]), torch.tensor([False, False])) is None


def test_the_loss_is_a_mean_over_samples_and_its_sum_their_number_times_it() -> None:
    logits, labels = answers(7)
    mean = TASK.loss(logits, labels)
    assert mean == pytest.approx(float(functional.binary_cross_entropy_with_logits(logits, labels)))
    assert TASK.loss(logits, labels, reduction="sum") == pytest.approx(7 * float(mean))
    right = ((logits > 0) == (labels > 0)).float().mean()
    assert TASK.running_sum(logits, labels, MEANING) / 7 == pytest.approx(float(right))


def test_mistakes_are_the_surest_wrong_decisions() -> None:
    judge = TASK.judge(MEANING)
    judge.add(torch.tensor([[9.0, -9, -9, -9], [3.0, 4, -9, -9], [-5.0, -9, -9, -9]]), torch.eye(4)[[0, 0, 0]])
    rows = judge.evaluation(0.0).mistakes
    assert [(row["index"], row["answer"], row["truth"]) for row in rows] == [(2, "not red", "red"), (1, "blue", "red")]


def test_predictions_are_the_probability_of_every_label() -> None:
    (first,) = TASK.answers.of(torch.tensor([[2.0, -2.0, 0.5, -9.0]]), MEANING, 1)
    assert TASK.answers.row(first)["labels"] == ["red", "ring"]
    assert TASK.answers.columns(MEANING, 1) == ["red", "blue", "ring", "rare"]
    assert TASK.answers.cells(first)[:2] == ["0.880797", "0.119203"]
    assert TASK.answers.words(first) == ("red 88.1 %, ring 62.2 %", "blue 11.9 %, rare 0.0 %")


@pytest.mark.parametrize(
    ("columns", "names", "targets"),
    [
        ({"b": ["0", "1"], "a": ["1.0", "0"]}, ["b", "a"], [(0.0, 1.0), (1.0, 0.0)]),
        ({"b": ["True", "false"]}, ["b"], [(1.0,), (0.0,)]),
        ({"tags": ["cat|dog", "dog | fox", ""]}, ["cat", "dog", "fox"], [(1, 1, 0), (0, 1, 1), (0, 0, 0)]),
        ({"tags": ["clear primary", "haze"]}, ["clear", "haze", "primary"], [(1, 0, 1), (0, 1, 0)]),
    ],
)
def test_columns_of_flags_and_cells_of_tags_are_read(
    columns: Mapping[str, Cells], names: list[str], targets: list[tuple[float, ...]]
) -> None:
    reader = TASK.columns.reader(columns)
    rows = list(zip(*columns.values(), strict=True))
    assert [reader.flaw(row) for row in rows] == [""] * len(rows)
    reading = reader.read(rows)
    assert (reading.names, reading.targets, reading.problems) == (names, targets, [])


def test_a_cell_that_is_neither_0_nor_1_is_named() -> None:
    reader = TASK.columns.reader({"red": ["1", "0", "1"], "blue": ["0", "2", ""]})
    assert reader.flaw(["1", "2"]) == "blue is 2, not 0 or 1"
    assert reader.flaw(["", "maybe"]) == "red is empty, blue is maybe, not 0 or 1"
