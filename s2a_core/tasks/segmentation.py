"""segmentation: a class for each pixel, by cross-entropy.

    loss = mean over samples of the mean over their pixels that are not ignored of -log softmax(logits)[class]

IoU of a class: TP / (TP + FP + FN) over the pixels of all images together, None where neither the masks nor the answers
have it; mean IoU is the mean over the others. Pixels of the value IGNORED count nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from s2a_core.errors import InternalError
from s2a_core.sides import ImageSize
from s2a_core.tasks.task import Answers, Evaluation, Mask, Metric, Outputs, Prediction, Sizes, Target, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

IGNORED = 255  # as in Pascal VOC and Cityscapes
MAX_MISTAKES = 24
PICTURE_SIDE = 160  # of the answers that a report shows
MEAN_IOU = Metric("miou", "mean IoU")
PIXEL_ACCURACY = Metric("pixel_accuracy", "pixel accuracy")
SHARE = Metric("share", "share of the pixels")
IOU = Metric("iou", "IoU")
RECALL = Metric("recall", "its pixels recognised")


def loss(outputs: Tensor, targets: Tensor, smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    """Of logits [B, classes, H, W] and masks [B, H, W], uint8. smoothing is of one class an image and not used here."""
    from torch.nn import functional

    of_pixels = functional.cross_entropy(outputs, targets.long(), ignore_index=IGNORED, reduction="none")  # [B, H, W]
    counted = (targets != IGNORED).sum((1, 2)).clamp_min(1)
    of_samples = of_pixels.sum((1, 2)) / counted  # [B]
    return of_samples.sum() if reduction == "sum" else of_samples.mean()


def running_sum(outputs: Tensor, targets: Tensor, meaning: Outputs) -> Tensor:
    """Of each sample the share of its pixels that are right."""
    import torch

    shares = []
    for logits, mask in zip(outputs, targets, strict=True):  # one by one: indices take 8 bytes a pixel
        counted = mask != IGNORED
        shares.append((logits.argmax(0) == mask).logical_and_(counted).sum() / counted.sum().clamp_min(1))
    return torch.stack(shares).sum()


class MaskJudge:
    """Pixels by true and answered class, and the images with the largest share of wrong ones."""

    def __init__(self, meaning: Outputs) -> None:
        import torch

        self.meaning = meaning
        self.pixels = torch.zeros(len(meaning), len(meaning), dtype=torch.long)  # [true, answered]
        self.mistakes: list[dict[str, Any]] = []
        self.num = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """The next samples. outputs: logits [B, classes, H, W]; targets: masks [B, H, W]."""
        classes = len(self.meaning)
        for logits, mask in zip(outputs, targets, strict=True):
            answer, counted = logits.argmax(0).to(mask.dtype), mask != IGNORED
            pairs = mask[counted].long().mul_(classes).add_(answer[counted])
            pixels = pairs.bincount(minlength=classes**2).reshape(classes, classes).cpu()
            self.pixels += pixels
            num, right = int(pixels.sum()), int(pixels.trace())
            if right < num:
                share = 1 - right / num
                wrong = {"index": self.num, "wrong": share, "answer": f"{100 * share:.1f} % of its pixels wrong"}
                true = [
                    name for name, has_any in zip(self.meaning.names, pixels.sum(1).tolist(), strict=True) if has_any
                ]
                self.mistakes.append({**wrong, "truth": f"of {', '.join(true)}", "mask": _small(answer)})
            self.num += 1
        self.mistakes = sorted(self.mistakes, key=lambda row: -float(row["wrong"]))[:MAX_MISTAKES]

    def evaluation(self, loss: float) -> Evaluation:
        """Of all samples, with their mean loss."""
        right, true, answered = self.pixels.diag(), self.pixels.sum(1), self.pixels.sum(0)
        total = max(1, int(true.sum()))
        by_output = [
            {
                "name": name,
                SHARE.name: truth / total,
                IOU.name: hits / union if (union := truth + answers - hits) else None,
                RECALL.name: hits / truth if truth else None,
            }
            for name, hits, truth, answers in zip(
                self.meaning.names, right.tolist(), true.tolist(), answered.tolist(), strict=True
            )
        ]
        known = [row[IOU.name] for row in by_output if row[IOU.name] is not None]
        metrics = {MEAN_IOU.name: fmean(known) if known else 0.0, PIXEL_ACCURACY.name: int(right.sum()) / total}
        return Evaluation(loss, metrics, mistakes=tuple(self.mistakes), by_output=tuple(by_output))


def _small(mask: Tensor) -> Any:
    """A mask [H, W] for a picture, as an array of at most PICTURE_SIDE pixels a side."""
    step = -(-max(mask.shape) // PICTURE_SIDE)
    return mask[::step, ::step].cpu().numpy().copy()


def predictions(outputs: Tensor, meaning: Outputs, top: int, sizes: Sizes = ()) -> list[Prediction]:
    """The mask of each image at its own size, and how many of its pixels each class has."""
    results = []
    for logits, size in zip(outputs, sizes or [(outputs.shape[-1], outputs.shape[-2])] * len(outputs), strict=True):
        mask = enlarged(logits, size)
        pixels = mask.flatten().bincount(minlength=len(meaning)).tolist()
        results.append(Prediction("", values=dict(zip(meaning.names, pixels, strict=True)), mask=mask))
    return results


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The surest class of each pixel of an image, uint8 [height, width].

    logits: [classes, H, W]; size: (width, height). They are interpolated one class after the other: an image
    of a camera has more pixels than memory for all of them.
    """
    import torch
    from torch.nn import functional

    best = torch.full((size[1], size[0]), -torch.inf)
    mask = torch.zeros(size[1], size[0], dtype=torch.uint8)
    for index, of_class in enumerate(logits):
        values = functional.interpolate(of_class[None, None], best.shape, mode="bilinear")[0, 0]
        mask[values > best] = index
        best = best.maximum(values)
    return mask


def row(prediction: Prediction) -> dict[str, Any]:
    """Pixels by class, and the file of the mask."""
    return {"mask": prediction.file, "pixels": {name: int(count) for name, count in prediction.values.items()}}


def csv_columns(meaning: Outputs, top: int) -> list[str]:
    """The file of the mask, and the pixels of each class."""
    return ["mask", *meaning.names]


def csv_cells(prediction: Prediction) -> list[str]:
    """In the order of their columns."""
    return [prediction.file, *(str(int(count)) for count in prediction.values.values())]


def words(prediction: Prediction) -> tuple[str, ...]:
    """The file of the mask, and the shares of the largest classes."""
    total = sum(prediction.values.values()) or 1
    largest = sorted(prediction.values.items(), key=lambda pair: -pair[1])
    return prediction.file, ", ".join(f"{name} {100 * count / total:.1f} %" for name, count in largest[:4] if count)


def image_counts(names: Sequence[str], targets: Sequence[Target]) -> list[int]:
    """Images that each class occurs in."""
    totals = [0] * len(names)
    for target in targets:
        if not isinstance(target, Mask):
            raise InternalError("a target of segmentation is a mask")
        for index in target.classes:
            totals[index] += 1
    return totals


def network(model: nn.Module, num_outputs: int, image_size: ImageSize) -> nn.Module:
    """The backbone with a head that answers for each pixel."""
    from s2a_core.segmenter import Segmenter

    return Segmenter(model, num_outputs, image_size)


TASK = Task(
    name="segmentation",
    label="a class for each pixel",
    nouns=("class(es)", "classes"),
    disagreement="have other masks where they stand again",
    metrics=(MEAN_IOU, PIXEL_ACCURACY),
    running=PIXEL_ACCURACY,
    columns=None,
    loss=loss,
    running_sum=running_sum,
    judge=MaskJudge,
    answers=Answers(
        "the class of each pixel: masks as indexed PNG, and the pixels of each class",
        predictions,
        row,
        csv_columns,
        csv_cells,
        ("mask", "largest classes"),
        words,
    ),
    stratum=lambda target: 0,
    counts=image_counts,
    mistakes="Validation images with the most wrong pixels: on the left their masks, on the right the model's.",
    figures=(SHARE, IOU, RECALL),
    profiled_loss=loss,
    pipeline_tag="image-segmentation",
    network=network,
    needs="put the images into images/ and their masks, with the same names, into masks/",
)
