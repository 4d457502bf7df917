"""What the product must know of one task, as a declaration. Imports no torch: services and pages read it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from s2a_core.sides import ImageSize

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Mask:
    """The file with the class of each pixel of an image. classes: those it holds; digest: of its pixels. Two masks are
    equal where their pixels are.
    """

    source: Path = field(compare=False)
    classes: tuple[int, ...]
    digest: str

    def __str__(self) -> str:
        return self.digest


Target = int | tuple[float, ...] | Mask  # a class, a number for each output, or a class for each pixel
Cells = Sequence[str]  # texts of a table: of one column, or of one row in the columns of its labels


@dataclass(frozen=True)
class Metric:
    """A figure of merit. name: its key in documents, `val_NAME` in a history; words: for people; is_share: 0..1,
    which people read in percent.
    """

    name: str
    words: str
    is_share: bool = True
    is_higher_better: bool = True

    def rank(self, value: float) -> float:
        """A number that is larger for a better value."""
        return value if self.is_higher_better else -value

    @property
    def title(self) -> str:
        """Its words as a heading: `Accuracy`, `mAP`."""
        return self.words if any(map(str.isupper, self.words)) else self.words.capitalize()

    def text(self, value: float, digits: int = 1) -> str:
        """`82.6 %` of a share, three digits of any other number."""
        return f"{100 * value:.{digits}f} %" if self.is_share else f"{value:.3g}"


@dataclass(frozen=True)
class Outputs:
    """What the outputs of a model mean. names: of classes, labels or columns, by index; mean, std: of each column over
    the training images, where outputs are standardised numbers: number = output * std + mean.
    """

    task: Task
    names: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def standardised(self, target: Target) -> Target:
        """A target as training compares with it."""
        if not self.std or not isinstance(target, tuple):
            return target
        return tuple((t - m) / s for t, m, s in zip(target, self.mean, self.std, strict=True))

    @property
    def scale(self) -> dict[str, list[float]]:
        """The standardisation as a document; empty where there is none."""
        return {"mean": list(self.mean), "std": list(self.std)} if self.std else {}


@dataclass(frozen=True)
class Evaluation:
    """What a pass over a split shows. metrics: by name; confusion: counts [true][predicted] of classes; by_output: the
    figures of each label or column; mistakes: the surest or largest; correct: the surest of each class.
    """

    loss: float
    metrics: Mapping[str, float]
    confusion: tuple[tuple[int, ...], ...] = ()
    mistakes: tuple[dict[str, Any], ...] = ()
    correct: tuple[dict[str, Any], ...] = ()
    by_output: tuple[dict[str, Any], ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of right answers, of a task that has it."""
        return self.metrics["accuracy"]

    @property
    def details(self) -> dict[str, Any]:
        """What a TrainResult keeps of the best evaluation."""
        return {name: getattr(self, name) for name in ("confusion", "mistakes", "correct", "by_output")}


class Judge(Protocol):
    """Takes the answers of a split and says how good they are."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """The next samples. outputs: fp32 [B, outputs], of masks [B, outputs, H, W]; targets: [B], [B, outputs] or
        [B, H, W].
        """

    def evaluation(self, loss: float) -> Evaluation:
        """Of all samples, with their mean loss."""


@dataclass(frozen=True)
class Prediction:
    """What a run says of one image; `error` instead where the file cannot be read.

    classes, probabilities: the most likely classes, best first, or every label in the order of the run; values: numbers
    by column, or pixels by class; mask: the class of each pixel of the image, uint8 [H, W]; file: where it was written.
    """

    path: str
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    error: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    mask: Tensor | None = field(default=None, compare=False)
    file: str = ""


Sizes = Sequence[tuple[int, int]]  # (width, height) of images


@dataclass(frozen=True)
class Answers:
    """How predictions of a task are made and written.

    summary: what they are; of(outputs [B, ...], meaning, top, sizes of the images): without paths; row: as a JSON
    object; columns(meaning, top), cells: of CSV; headings, words: of a table for people.
    """

    summary: str

    of: Callable[[Tensor, Outputs, int, Sizes], list[Prediction]]
    row: Callable[[Prediction], dict[str, Any]]
    columns: Callable[[Outputs, int], list[str]]
    cells: Callable[[Prediction], list[str]]
    headings: tuple[str, ...]
    words: Callable[[Prediction], tuple[str, ...]]


@dataclass(frozen=True)
class Reading:
    """What the rows of a table come to: names of the outputs, a target for each row, and what is to be said of all."""

    names: list[str]
    targets: list[Target]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Reader(Protocol):
    """Reads the label columns of one table."""

    def flaw(self, cells: Cells) -> str:
        """Why a row's cells are no target; empty where they are."""

    def read(self, rows: Sequence[Cells]) -> Reading:
        """The targets of rows without flaws."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold a task's targets. Tables are {name of a column: its cells}.

    guess: why columns look like this task's, empty where they do not; choose(columns, named): names of those that are
    read, none where it is not clear; named: the one that is called label, or alike; reader(columns): of the chosen.
    """

    guess: Callable[[Mapping[str, Cells]], str]
    choose: Callable[[Mapping[str, Cells], str | None], list[str]]
    reader: Callable[[Mapping[str, Cells]], Reader]


@dataclass(frozen=True)
class Task:
    """One task. Everything that names or treats tasks derives from these fields.

    name: its word in `--task`; label: what it answers, as forms and help say it; nouns: what its outputs are, in a
    count and in the plural: class(es), classes; disagreement: what equal images with other targets do.
    metrics: the first decides which epoch is kept, the next ones where it is the same; running: of the training images,
    while they are trained on; figures: of each output, in an Evaluation's by_output; mistakes: what the examples of an
    Evaluation's mistakes are.
    loss(outputs, targets, smoothing, reduction): fp32, a `mean` over samples, or their `sum`.
    running_sum: the sum over samples of `running`, on their device.
    stratum: samples of one are divided evenly between training and validation.
    counts(names, targets): samples of each output, empty where outputs are not counted.
    scale: (mean, std) of each column of training targets; None where targets stay as they are.
    has_one_class: targets are class indices, as folders give them, and mixup and cutmix can blend them.
    columns: None where no table holds its targets; needs: what to do with data that has none; network(model,
    outputs, image_size): makes the task's network of a timm model with its weights, None where that is the network.
    profiled_loss: of a profile's and a verification's steps; None for cross-entropy with classes, which is theirs.
    pipeline_tag: what model hubs call it.
    """

    name: str
    label: str
    nouns: tuple[str, str]
    disagreement: str
    metrics: tuple[Metric, ...]
    running: Metric
    columns: Columns | None
    loss: Callable[..., Tensor]
    running_sum: Callable[[Tensor, Tensor, Outputs], Tensor]
    judge: Callable[[Outputs], Judge]
    answers: Answers
    stratum: Callable[[Target], int]
    counts: Callable[[Sequence[str], Sequence[Target]], list[int]]
    mistakes: str
    figures: tuple[Metric, ...] = ()
    scale: Callable[[Sequence[Target]], tuple[tuple[float, ...], tuple[float, ...]]] | None = None
    has_one_class: bool = False
    profiled_loss: Callable[[Any, Any], Tensor] | None = None
    pipeline_tag: str = "image-classification"
    network: Callable[[nn.Module, int, ImageSize], nn.Module] | None = None
    needs: str = "put labels.csv, with a column of paths and those of labels, beside the images"

    def sentence(self, reason: str) -> str:
        """`multilabel, any number of labels an image (guessed: 3 columns of 0 and 1)`."""
        return f"{self.name}, {self.label}" + (f" ({reason})" if reason else "")

    @property
    def noun(self) -> str:
        """What one of its outputs is."""
        return self.nouns[0].partition("(")[0]

    @property
    def shown(self) -> tuple[Metric, ...]:
        """What histories hold of it: its metrics, and the running one."""
        return self.metrics if self.running in self.metrics else (*self.metrics, self.running)

    @property
    def main(self) -> Metric:
        """The metric that people judge it by."""
        return self.metrics[0]

    def rank(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """What is larger for a better epoch."""
        return tuple(metric.rank(metrics[metric.name]) for metric in self.metrics)
