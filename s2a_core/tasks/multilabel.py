"""multilabel: any number of labels an image, each by a logistic score of its own.

    loss = mean over samples and labels of BCE(sigmoid(logit), label)

Its metrics are the usual ones of the field. Average precision of a label: the mean of the precision at each of its
images, all ranked by their score, scores that are equal counted together (scikit-learn's average_precision_score);
mAP is the mean over labels that have an image. F1 is of all decisions at 0.5 together (micro).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from s2a_core.errors import InternalError
from s2a_core.names import distinct, printable
from s2a_core.tasks.cells import ALL_SEPARATORS, are_flags, flag, separator
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

    from s2a_core.tasks.task import Reader

THRESHOLD = 0.5  # of a probability: the label is given from here on
MAX_MISTAKES = 50
MAP, F1 = Metric("map", "mAP"), Metric("f1", "F1")
IMAGES = Metric("images", "validation images", is_share=False)
AVERAGE_PRECISION = Metric("average_precision", "average precision")
RIGHT_LABELS = Metric("label_accuracy", "right labels")


def loss(outputs: Tensor, targets: Tensor, smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    """Of logits and labels, both [B, labels]. smoothing is of one class an image and not used here."""
    from torch.nn import functional

    of_samples = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").mean(-1)  # [B]
    return of_samples.sum() if reduction == "sum" else of_samples.mean()


def running_sum(outputs: Tensor, targets: Tensor, meaning: Outputs) -> Tensor:
    """Of each sample the share of labels that are decided right."""
    return ((outputs > 0) == (targets > 0.5)).float().mean(-1).sum()


def average_precision(scores: Tensor, truth: Tensor) -> float | None:
    """Area under the steps of precision over recall of one label. scores, truth: [N]; None without an image of it."""
    num = int(truth.sum())
    if num == 0:
        return None
    order = scores.argsort(descending=True, stable=True)
    scores, hits = scores[order], truth[order].double().cumsum(0)
    is_last = scores != scores.roll(-1)  # of the images of one score
    is_last[-1] = True
    hits, answers = hits[is_last], is_last.nonzero().flatten() + 1
    gained = hits.diff(prepend=hits.new_zeros(1))
    return float((gained * hits / answers).sum() / num)


def f1(true_positives: int, answers: int, images: int) -> float:
    """Harmonic mean of precision and recall: 2 TP / (answers + images); 0 where there is neither."""
    return 2 * true_positives / (answers + images) if answers + images else 0.0


class LabelJudge:
    """Keeps the scores of all samples: average precision ranks them."""

    def __init__(self, meaning: Outputs) -> None:
        self.meaning = meaning
        self.outputs: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """The next samples. outputs: logits [B, labels]; targets: 0 and 1 [B, labels]."""
        self.outputs.append(outputs.cpu())
        self.targets.append(targets.cpu() > 0.5)

    def evaluation(self, loss: float) -> Evaluation:
        """Of all samples, with their mean loss."""
        import torch

        scores, truth = torch.cat(self.outputs).sigmoid(), torch.cat(self.targets)  # [N, labels]
        decided = scores > THRESHOLD
        right = (decided & truth).sum(0).tolist()
        answers, images = decided.sum(0).tolist(), truth.sum(0).tolist()
        by_output = [
            {
                "name": name,
                IMAGES.name: images[i],
                AVERAGE_PRECISION.name: average_precision(scores[:, i], truth[:, i]),
                F1.name: f1(right[i], answers[i], images[i]),
            }
            for i, name in enumerate(self.meaning.names)
        ]
        known = [row[AVERAGE_PRECISION.name] for row in by_output if row[AVERAGE_PRECISION.name] is not None]
        metrics = {
            MAP.name: sum(known) / len(known) if known else 0.0,
            F1.name: f1(sum(right), sum(answers), sum(images)),
        }
        return Evaluation(loss, metrics, mistakes=self._mistakes(scores, truth), by_output=tuple(by_output))

    def _mistakes(self, scores: Tensor, truth: Tensor) -> tuple[dict[str, Any], ...]:
        """The surest wrong decision of each of the samples whose is the surest: a label given, or left out."""
        wrong = (scores - truth.float()).abs()  # [N, labels]: the probability of the wrong decision
        worst, labels = wrong.max(-1)
        rows = []
        for index in worst.argsort(descending=True, stable=True)[:MAX_MISTAKES].tolist():
            label = int(labels[index])
            if worst[index] <= THRESHOLD:
                break
            name, is_there = self.meaning.names[label], bool(truth[index, label])
            rows.append(
                {
                    "index": index,
                    "label": label,
                    "probability": float(worst[index]),
                    "answer": f"not {name}" if is_there else name,
                    "truth": self._words(truth[index]),
                }
            )
        return tuple(rows)

    def _words(self, truth: Tensor) -> str:
        names = [name for name, is_there in zip(self.meaning.names, truth.tolist(), strict=True) if is_there]
        return ", ".join(names) or "none of the labels"


def predictions(outputs: Tensor, meaning: Outputs, top: int, sizes: Sizes = ()) -> list[Prediction]:
    """Every label with its probability, in the order of the run."""
    return [Prediction("", meaning.names, tuple(row)) for row in outputs.sigmoid().tolist()]


def row(prediction: Prediction) -> dict[str, Any]:
    """The labels from 0.5 on, and the probability of each."""
    pairs = dict(zip(prediction.classes, prediction.probabilities, strict=True))
    return {"labels": [name for name, value in pairs.items() if value > THRESHOLD], "probabilities": pairs}


def csv_columns(meaning: Outputs, top: int) -> list[str]:
    """One for each label."""
    return list(meaning.names)


def csv_cells(prediction: Prediction) -> list[str]:
    """Probabilities."""
    return [f"{probability:.6f}" for probability in prediction.probabilities]


def words(prediction: Prediction) -> tuple[str, ...]:
    """Labels that are given, and the likeliest of the others."""
    pairs = sorted(zip(prediction.classes, prediction.probabilities, strict=True), key=lambda pair: -pair[1])
    given = [f"{name} {100 * value:.1f} %" for name, value in pairs if value > THRESHOLD]
    others = [f"{name} {100 * value:.1f} %" for name, value in pairs if value <= THRESHOLD]
    return ", ".join(given) or "none", ", ".join(others[:3])


class FlagReader:
    """One column of 0 and 1 for each label."""

    def __init__(self, columns: Mapping[str, Cells]) -> None:
        self.columns = list(columns)

    def flaw(self, cells: Cells) -> str:
        """Every cell must be 0 or 1."""
        pairs = zip(self.columns, cells, strict=True)
        wrong = [f"{name} is {text or 'empty'}" for name, text in pairs if flag(text) is None]
        return f"{', '.join(wrong)}, not 0 or 1" if wrong else ""

    def read(self, rows: Sequence[Cells]) -> Reading:
        """Labels in the order of their columns."""
        targets: list[Target] = [tuple(float(flag(text) or 0) for text in cells) for cells in rows]
        return Reading(distinct(map(printable, self.columns)), targets)


class TagReader:
    """One column with the labels of an image, separated; an empty cell is an image without any."""

    def __init__(self, column: str, mark: str) -> None:
        self.column, self.mark = column, mark

    def flaw(self, cells: Cells) -> str:
        """Any words will do."""
        return ""

    def read(self, rows: Sequence[Cells]) -> Reading:
        """Labels sorted by name."""
        tags = [self._tags(cells[0]) for cells in rows]
        names = sorted({name for of_row in tags for name in of_row})
        targets: list[Target] = [tuple(float(name in of_row) for name in names) for of_row in tags]
        problems = [] if names or not rows else [f"the column {self.column} names no label"]
        return Reading(distinct(map(printable, names)), targets, problems)

    def _tags(self, text: str) -> list[str]:
        parts = text.split(self.mark) if self.mark else [text]
        return [part.strip() for part in parts if part.strip()]


def reader(columns: Mapping[str, Cells]) -> Reader:
    """Columns of 0 and 1, or one of separated labels."""
    if len(columns) > 1 or all(map(are_flags, columns.values())):
        return FlagReader(columns)
    ((column, cells),) = columns.items()
    return TagReader(column, separator(cells, ALL_SEPARATORS))


def guess(columns: Mapping[str, Cells]) -> str:
    """Several columns of 0 and 1, or labels with a separator between them."""
    if len(columns) > 1:
        return f"{len(columns)} columns of 0 and 1" if all(map(are_flags, columns.values())) else ""
    ((column, cells),) = columns.items()
    mark = separator(cells)
    return f"the column {column} holds several labels, separated by {mark}" if mark else ""


def choose(columns: Mapping[str, Cells], named: str | None) -> list[str]:
    """The columns of 0 and 1; without those the one that is called label, else the only one."""
    flags = [name for name, cells in columns.items() if are_flags(cells)]
    return flags or ([named] if named else list(columns) if len(columns) == 1 else [])


def label_counts(names: Sequence[str], targets: Sequence[Target]) -> list[int]:
    """Samples that have each label."""
    totals = [0] * len(names)
    for target in targets:
        if not isinstance(target, tuple):
            raise InternalError("a target of several labels is a tuple of 0 and 1")
        totals = [total + int(value) for total, value in zip(totals, target, strict=True)]
    return totals


TASK = Task(
    name="multilabel",
    label="any number of labels an image",
    nouns=("label(s)", "labels"),
    disagreement="have other labels where they stand again",
    metrics=(MAP, F1),
    running=RIGHT_LABELS,
    columns=Columns(guess, choose, reader),
    loss=loss,
    running_sum=running_sum,
    judge=LabelJudge,
    answers=Answers(
        "every label, with its probability", predictions, row, csv_columns, csv_cells, ("labels", "or"), words
    ),
    stratum=lambda target: 0,
    counts=label_counts,
    mistakes="Validation images with the surest wrong decision: a label that is given, or left out.",
    figures=(IMAGES, AVERAGE_PRECISION, F1),
    profiled_loss=loss,
)
