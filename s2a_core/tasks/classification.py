"""classification: one class an image, by cross-entropy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from s2a_core.names import distinct, printable
from s2a_core.tasks.cells import has_fraction, number
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
    from torch import Tensor

MAX_MISTAKES = 50
MANY_NUMBERS = 10  # classes that are all numbers, above which they may be amounts
ACCURACY = Metric("accuracy", "accuracy")


def loss(outputs: Tensor, targets: Tensor, smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    """Cross-entropy of logits [B, classes] with classes [B] or shares of them [B, classes]."""
    from torch.nn import functional

    return functional.cross_entropy(outputs, targets, label_smoothing=smoothing, reduction=reduction)


def running_sum(outputs: Tensor, targets: Tensor, meaning: Outputs) -> Tensor:
    """Right answers; of shares of classes the largest is right."""
    return (outputs.argmax(-1) == surest(targets)).sum()


def surest(labels: Tensor) -> Tensor:
    """The class of each label [B]: of shares of classes [B, classes] the largest."""
    return labels.argmax(-1) if labels.ndim > 1 else labels


class ClassJudge:
    """Accuracy and confusion, the surest mistakes, and the surest correct answer of each class."""

    def __init__(self, meaning: Outputs) -> None:
        import torch

        self.counts = torch.zeros(len(meaning), len(meaning), dtype=torch.long)
        self.mistakes: list[dict[str, Any]] = []
        self.correct: dict[int, dict[str, Any]] = {}
        self.num = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """The next samples. outputs: logits [B, classes]; targets: classes [B]."""
        best = outputs.softmax(-1).max(-1)
        rows = zip(targets.tolist(), best.indices.tolist(), best.values.tolist(), strict=True)
        for label, predicted, probability in rows:
            self.counts[label, predicted] += 1
            row = {"index": self.num, "label": label, "predicted": predicted, "probability": probability}
            if label != predicted:
                self.mistakes.append(row)
            elif label not in self.correct or probability > self.correct[label]["probability"]:
                self.correct[label] = row
            self.num += 1
        self.mistakes = sorted(self.mistakes, key=lambda mistake: -float(mistake["probability"]))[:MAX_MISTAKES]

    def evaluation(self, loss: float) -> Evaluation:
        """Of all samples, with their mean loss."""
        return Evaluation(
            loss,
            {ACCURACY.name: int(self.counts.trace()) / self.num},
            confusion=tuple(map(tuple, self.counts.tolist())),
            mistakes=tuple(self.mistakes),
            correct=tuple(self.correct[label] for label in sorted(self.correct)),
        )


def predictions(outputs: Tensor, meaning: Outputs, top: int, sizes: Sizes = ()) -> list[Prediction]:
    """The `top` most likely classes, at most all of them."""
    likely = outputs.softmax(-1).topk(min(top, len(meaning)))  # [B, top]
    pairs = zip(likely.values.tolist(), likely.indices.tolist(), strict=True)
    return [Prediction("", tuple(meaning.names[i] for i in indices), tuple(values)) for values, indices in pairs]


def row(prediction: Prediction) -> dict[str, Any]:
    """The best class, and all of the top."""
    pairs = zip(prediction.classes, prediction.probabilities, strict=True)
    top = [{"class": name, "probability": probability} for name, probability in pairs]
    return {"class": prediction.classes[0], "probability": prediction.probabilities[0], "top": top}


def csv_columns(meaning: Outputs, top: int) -> list[str]:
    """class_1, probability_1, class_2 ..."""
    ranks = range(1, min(top, len(meaning)) + 1)
    return [f"{word}_{rank}" for rank in ranks for word in ("class", "probability")]


def csv_cells(prediction: Prediction) -> list[str]:
    """Names and probabilities in turn."""
    pairs = zip(prediction.classes, prediction.probabilities, strict=True)
    return [cell for name, probability in pairs for cell in (name, f"{probability:.6f}")]


def words(prediction: Prediction) -> tuple[str, ...]:
    """Class, probability, and the others."""
    shown = [f"{100 * probability:.1f} %" for probability in prediction.probabilities]
    others = ", ".join(f"{n} {v}" for n, v in zip(prediction.classes[1:], shown[1:], strict=True))
    return prediction.classes[0], shown[0], others


class ClassReader:
    """One column of class names."""

    def __init__(self, columns: Mapping[str, Cells]) -> None:
        (self.column,) = columns

    def flaw(self, cells: Cells) -> str:
        """A row needs a label, whatever it says."""
        return "" if cells[0] else "no label"

    def read(self, rows: Sequence[Cells]) -> Reading:
        """Classes sorted by name, and the index of each row's."""
        names = sorted({cells[0] for cells in rows})
        index = {name: number for number, name in enumerate(names)}
        reading = Reading(distinct(map(printable, names)), [index[cells[0]] for cells in rows])
        if fractions := [name for name in names if has_fraction(name)]:
            reading.problems.append(
                f"the column {self.column} holds numbers such as {fractions[0]}, which are no classes: "
                "give a column of class names, or say --task regression"
            )
        elif len(names) > MANY_NUMBERS and all(number(name) is not None for name in names):
            reading.warnings.append(
                f"the {len(names)} whole numbers of the column {self.column} are taken as classes: --task regression "
                "learns them as numbers"
            )
        if len(names) == 1:
            reading.problems.append(f"only one class ({names[0]}): a classifier needs at least two")
        return reading


def guess(columns: Mapping[str, Cells]) -> str:
    """Any one column may hold names."""
    return "one column of names" if len(columns) == 1 else ""


def choose(columns: Mapping[str, Cells], named: str | None) -> list[str]:
    """The column that is called label, else the only one."""
    return [named] if named else list(columns) if len(columns) == 1 else []


def class_counts(names: Sequence[str], targets: Sequence[Target]) -> list[int]:
    """Samples of each class."""
    counted = Counter(targets)
    return [counted[index] for index in range(len(names))]


TASK = Task(
    name="classification",
    label="one class an image",
    nouns=("class(es)", "classes"),
    disagreement="stand in several classes",
    metrics=(ACCURACY,),
    running=ACCURACY,
    columns=Columns(guess, choose, ClassReader),
    loss=loss,
    running_sum=running_sum,
    judge=ClassJudge,
    answers=Answers(
        "the most likely classes, with probabilities",
        predictions,
        row,
        csv_columns,
        csv_cells,
        ("class", "probability", "or"),
        words,
    ),
    stratum=lambda target: target if isinstance(target, int) else 0,
    counts=class_counts,
    mistakes="Validation images the model is most certain about, and wrong.",
    has_one_class=True,
)
