"""What a dataset is once it is open: two splits of labelled images, what labels mean, and a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from s2a_core.datasets.images import Ranges, read_image
from s2a_core.datasets.masks import read_mask
from s2a_core.tasks import task_of
from s2a_core.tasks.task import Mask, Outputs, Target


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image. name: path relative to the dataset; source: a file, or the encoded image itself; label: the
    index of its class, a number for each output of its task, or its mask.
    """

    name: str
    source: Path | bytes
    label: Target


@dataclass(frozen=True)
class ImageSplit(Sequence[tuple[Any, Any]]):
    """A map-style dataset: `split[i]` is (RGB image after `transform`, label). Can be pickled.

    A label that is a mask is read as uint8 [H, W], and `transform` is given both.
    ranges: how values of more than 8 bits become 8, the same for every image of a dataset.
    """

    samples: tuple[Sample, ...]
    transform: Callable[..., Any] | None = None
    ranges: Ranges | None = field(default=None, hash=False)

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> tuple[Any, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> ImageSplit: ...
    def __getitem__(self, index: int | slice) -> tuple[Any, Any] | ImageSplit:
        if isinstance(index, slice):
            return replace(self, samples=self.samples[index])
        sample = self.samples[index]
        image = read_image(sample.source, self.ranges)
        if isinstance(sample.label, Mask):
            mask = read_mask(sample.label.source, image.size)
            return self.transform(image, mask) if self.transform else (image, mask)
        return (self.transform(image) if self.transform else image), sample.label

    @property
    def labels(self) -> list[Target]:
        """The label of every sample, without reading an image."""
        return [sample.label for sample in self.samples]

    def with_transform(self, transform: Callable[..., Any] | None) -> ImageSplit:
        """The same samples, with another function applied to each RGB image, and its mask."""
        return replace(self, transform=transform)


@dataclass(frozen=True)
class DatasetReport:
    """What was found before training.

    task: its name; task_reason: how it was known; num_classes: outputs of the task: classes, labels or columns; scale:
    {"mean", "std"} of each column, where labels are numbers, which training standardises.
    class_counts: class -> (training images, validation images); sides: shortest and longest side in pixels as
    {"min", "median", "max"}; modes: colour mode as stored in the files -> count; split: "given" or "made", with the
    fraction and seed that made it; duplicates: groups of files with equal content that stand on both sides;
    value_ranges: kind of values of more than 8 bits -> those that became 0 and 255, which predictions use again.
    """

    source: str
    kind: str
    num_classes: int
    num_train: int
    num_val: int
    class_counts: Mapping[str, tuple[int, int]]
    split: Mapping[str, Any]
    sides: Mapping[str, int] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    value_ranges: Ranges = field(default_factory=dict)
    duplicates: tuple[tuple[str, ...], ...] = ()
    warnings: tuple[str, ...] = ()
    fingerprint: str = ""
    scan_s: float = 0.0
    task: str = "classification"
    task_reason: str = ""
    scale: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        document = asdict(self)
        document["class_counts"] = {name: list(counts) for name, counts in self.class_counts.items()}
        document["duplicates"] = [list(group) for group in self.duplicates[:50]]
        document["warnings"] = list(self.warnings)
        return document


@dataclass(frozen=True)
class ImageDataset:
    """An open dataset. classes: names of the classes, labels or columns, by the index of the model's output."""

    train: ImageSplit
    val: ImageSplit
    classes: tuple[str, ...]
    report: DatasetReport

    @property
    def outputs(self) -> Outputs:
        """What the outputs of a model of this data mean."""
        scale = self.report.scale
        return Outputs(
            task_of({"task": self.report.task}), self.classes, tuple(scale.get("mean", ())), tuple(scale.get("std", ()))
        )
