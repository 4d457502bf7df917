"""regression: one or more numbers an image.

    t = (number - mean) / std, of each column over the training images
    loss = mean over samples and columns of (y - t)²

The model's outputs are such standardised numbers; the run keeps mean and std to turn them back. MAE is in the units of
the data, its mean over columns; R² = 1 - Σ (y - t)² / Σ (t - mean(t))² of each column, the mean over columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any

from s2a_core.errors import InternalError
from s2a_core.names import distinct, printable
from s2a_core.tasks.cells import are_flags, are_numbers, has_fraction, number
from s2a_core.tasks.task import (
    Answers,
    Cells,
    Columns,
    Evaluation,
    Metric,
    Outputs,
    Prediction,
    Reading,
    Sizes,
    Target,
    Task,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_MISTAKES = 50
R2 = Metric("r2", "R²", is_share=False)
MEAN = Metric("mean", "mean in training", is_share=False)
DEVIATION = Metric("std", "standard deviation in training", is_share=False)
MAE = Metric("mae", "MAE", is_share=False, is_higher_better=False)


def loss(outputs: Tensor, targets: Tensor, smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    """Of standardised numbers, both [B, columns]. smoothing is of classes and not used here."""
    from torch.nn import functional

    of_samples = functional.mse_loss(outputs, targets, reduction="none").mean(-1)  # [B]
    return of_samples.sum() if reduction == "sum" else of_samples.mean()


def running_sum(outputs: Tensor, targets: Tensor, meaning: Outputs) -> Tensor:
    """Of each sample the mean absolute error over columns, in the units of the data."""
    return ((outputs - targets).abs() * outputs.new_tensor(meaning.std)).mean(-1).sum()


class NumberJudge:
    """Keeps all answers: R² compares with the mean of all targets."""

    def __init__(self, meaning: Outputs) -> None:
        self.meaning = meaning
        self.outputs: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """The next samples, standardised, both [B, columns]."""
        self.outputs.append(in_units(outputs, self.meaning))
        self.targets.append(in_units(targets, self.meaning))

    def evaluation(self, loss: float) -> Evaluation:
        """Of all samples, with their mean loss."""
        import torch

        answers, truth = torch.cat(self.outputs), torch.cat(self.targets)  # [N, columns]
        errors = answers - truth
        absolute = errors.abs().mean(0).tolist()
        spread = (truth - truth.mean(0)).square().sum(0)
        # Targets that are all the same leave nothing to explain: 0, as where the mean is answered.
        r2 = torch.where(spread > 0, 1 - errors.square().sum(0) / spread, 0.0).tolist()
        names, keys = self.meaning.names, ("name", *(figure.name for figure in (R2, MAE, MEAN, DEVIATION)))
        by_output = [
            dict(zip(keys, row, strict=True))
            for row in zip(names, r2, absolute, self.meaning.mean, self.meaning.std, strict=True)
        ]
        size = (errors.abs() / errors.new_tensor(self.meaning.std)).mean(-1)
        mistakes = [
            {
                "index": index,
                "answer": words_of(dict(zip(names, answers[index].tolist(), strict=True))),
                "truth": words_of(dict(zip(names, truth[index].tolist(), strict=True))),
            }
            for index in size.argsort(descending=True, stable=True)[:MAX_MISTAKES].tolist()
        ]
        metrics = {R2.name: fmean(r2), MAE.name: fmean(absolute)}
        return Evaluation(loss, metrics, mistakes=tuple(mistakes), by_output=tuple(by_output))


def in_units(values: Tensor, meaning: Outputs) -> Tensor:
    """Standardised numbers [B, columns] in the units of the data, as fp64 on the CPU."""
    wide = values.double().cpu()
    return wide * wide.new_tensor(meaning.std) + wide.new_tensor(meaning.mean)


def words_of(values: Mapping[str, float]) -> str:
    """`3.21` of one column, `width 3.21, height 2.5` of several."""
    shown = [f"{value:.4g}" if len(values) == 1 else f"{name} {value:.4g}" for name, value in values.items()]
    return ", ".join(shown)


def predictions(outputs: Tensor, meaning: Outputs, top: int, sizes: Sizes = ()) -> list[Prediction]:
    """The numbers of each column."""
    rows = in_units(outputs, meaning).tolist()
    return [Prediction("", values=dict(zip(meaning.names, row, strict=True))) for row in rows]


def row(prediction: Prediction) -> dict[str, Any]:
    """Numbers by column."""
    return {"values": dict(prediction.values)}


def csv_columns(meaning: Outputs, top: int) -> list[str]:
    """Those of the table that was trained on."""
    return list(meaning.names)


def csv_cells(prediction: Prediction) -> list[str]:
    """Numbers."""
    return [f"{value:.6g}" for value in prediction.values.values()]


def words(prediction: Prediction) -> tuple[str, ...]:
    """All numbers in one cell, and room for why a file was not read."""
    return words_of(prediction.values), ""


class NumberReader:
    """One column of numbers or more."""

    def __init__(self, columns: Mapping[str, Cells]) -> None:
        self.columns = list(columns)

    def flaw(self, cells: Cells) -> str:
        """Every cell must be a finite number."""
        pairs = zip(self.columns, cells, strict=True)
        wrong = [f"{name} is {text or 'empty'}" for name, text in pairs if number(text) is None]
        return f"{', '.join(wrong)}, not a finite number" if wrong else ""

    def read(self, rows: Sequence[Cells]) -> Reading:
        """Numbers in the order of their columns."""
        targets: list[Target] = [tuple(number(text) or 0.0 for text in cells) for cells in rows]
        return Reading(distinct(map(printable, self.columns)), targets)


def guess(columns: Mapping[str, Cells]) -> str:
    """One column of numbers with fractions, or several of numbers that are not all 0 and 1."""
    if not all(map(are_numbers, columns.values())):
        return ""
    if len(columns) == 1:
        ((column, cells),) = columns.items()
        return f"the column {column} holds numbers with fractions" if any(map(has_fraction, cells)) else ""
    return "" if all(map(are_flags, columns.values())) else f"{len(columns)} columns of numbers"


def choose(columns: Mapping[str, Cells], named: str | None) -> list[str]:
    """The column that is called label or target, where it holds numbers; else every column that does, or holds any."""
    if named and are_numbers(columns[named]):
        return [named]
    mostly = [name for name, cells in columns.items() if are_numbers(cells)]
    return mostly or [name for name, cells in columns.items() if any(number(text) is not None for text in cells)]


def scale(targets: Sequence[Target]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, standard deviation) of each column."""
    rows = [target for target in targets if isinstance(target, tuple)]
    if len(rows) != len(targets):
        raise InternalError("a target of regression is a tuple of numbers")
    columns = list(zip(*rows, strict=True))
    return tuple(map(fmean, columns)), tuple(map(pstdev, columns))


TASK = Task(
    name="regression",
    label="numbers of an image",
    nouns=("column(s)", "columns"),
    disagreement="have other numbers where they stand again",
    metrics=(R2, MAE),
    running=MAE,
    columns=Columns(guess, choose, NumberReader),
    loss=loss,
    running_sum=running_sum,
    judge=NumberJudge,
    answers=Answers(
        "numbers, in the units of the data", predictions, row, csv_columns, csv_cells, ("number", ""), words
    ),
    stratum=lambda target: 0,
    counts=lambda names, targets: [],
    mistakes="Validation images whose answers are furthest from their numbers.",
    figures=(R2, MAE, MEAN, DEVIATION),
    scale=scale,
    profiled_loss=loss,
    pipeline_tag="",
)
