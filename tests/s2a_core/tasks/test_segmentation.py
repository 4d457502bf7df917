"""A class for each pixel: IoU is scikit-learn's, ignored pixels count nowhere, answers fit their images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score
from torch.nn import functional

from s2a_core.tasks.segmentation import IGNORED, TASK, enlarged
from s2a_core.tasks.task import Outputs

MEANING = Outputs(TASK, ("ground", "square", "disk", "absent"))


def answers(num: int = 5, size: tuple[int, int] = (12, 9)) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [N, 4, H, W] that never answer the last class, and masks [N, H, W] without it, a tenth ignored."""
    torch.manual_seed(0)
    logits = torch.randn(num, 4, *size)
    logits[:, 3] = -9
    masks = torch.randint(3, (num, *size)).byte()
    masks[torch.rand(num, *size) < 0.1] = IGNORED
    return logits, masks


def test_figures_are_those_of_scikit_learn() -> None:
    logits, masks = answers()
    judge = TASK.judge(MEANING)
    judge.add(logits[:2], masks[:2])
    judge.add(logits[2:], masks[2:])
    judged = judge.evaluation(0.5)
    counted = masks != IGNORED
    truth, answer = masks[counted].numpy(), logits.argmax(1)[counted].numpy()
    expected = jaccard_score(truth, answer, average=None)
    assert [row["iou"] for row in judged.by_output] == [pytest.approx(value) for value in expected] + [None]
    assert judged.metrics["miou"] == pytest.approx(np.mean(expected))
    assert judged.metrics["pixel_accuracy"] == pytest.approx(accuracy_score(truth, answer))
    assert sum(row["share"] for row in judged.by_output) == pytest.approx(1)
    assert judged.by_output[3]["recall"] is None


def test_the_loss_is_a_mean_over_samples_of_the_pixels_that_count() -> None:
    logits, masks = answers()
    of_samples = [
        functional.cross_entropy(x[None], m[None].long(), ignore_index=IGNORED)
        for x, m in zip(logits, masks, strict=True)
    ]
    assert float(TASK.loss(logits, masks)) == pytest.approx(float(torch.stack(of_samples).mean()))
    right = [(x.argmax(0) == m)[m != IGNORED].float().mean() for x, m in zip(logits, masks, strict=True)]
    assert float(TASK.running_sum(logits, masks, MEANING)) == pytest.approx(float(torch.stack(right).sum()))


def test_an_image_that_is_ignored_whole_has_no_loss_and_a_gradient_of_zero() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = TASK.loss(logits, torch.full((1, 4, 4), IGNORED, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_mistakes_are_the_images_with_the_most_wrong_pixels() -> None:
    masks = torch.zeros(3, 8, 8, dtype=torch.uint8)
    logits = functional.one_hot(masks.long(), 4).movedim(-1, 1).float()
    logits[1, 1, :2], logits[2, 2, :4] = 9, 9
    judge = TASK.judge(MEANING)
    judge.add(logits, masks)
    rows = judge.evaluation(0.0).mistakes
    assert [(row["index"], row["answer"], row["truth"]) for row in rows] == [
        (2, "50.0 % of its pixels wrong", "of ground"),
        (1, "25.0 % of its pixels wrong", "of ground"),
    ]
    assert rows[0]["mask"].tolist() == logits[2].argmax(0).tolist()


def test_answers_have_the_size_of_their_images() -> None:
    logits, _ = answers(2, (6, 6))
    first, second = TASK.answers.of(logits, MEANING, 1, [(30, 20), (6, 6)])
    assert first.mask is not None
    assert second.mask is not None
    assert (first.mask.shape, first.mask.dtype) == ((20, 30), torch.uint8)
    assert sum(first.values.values()) == 600
    expected = functional.interpolate(logits[:1], (20, 30), mode="bilinear").argmax(1)[0]
    assert torch.equal(first.mask.long(), expected)
    assert torch.equal(second.mask.long(), logits[1].argmax(0))
    assert torch.equal(enlarged(logits[0], (30, 20)), first.mask)
    assert TASK.answers.columns(MEANING, 1) == ["mask", "ground", "square", "disk", "absent"]
    assert TASK.answers.row(first)["pixels"]["absent"] == 0
