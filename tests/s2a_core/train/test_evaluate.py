"""Accuracy, confusion and mistakes agree with each other."""

import torch

from s2a_core.models import data_config, load_model
from s2a_core.train.evaluate import evaluate, judge
from s2a_core.train.images import evaluation_transform
from tests.s2a_core.runs import few_digits, hand_plan


def test_accuracy_confusion_and_mistakes_agree() -> None:
    torch.manual_seed(0)
    model = load_model("s2a_tiny", num_classes=10)
    split = few_digits().val.with_transform(evaluation_transform(data_config(model, 32)))
    loss, accuracy = evaluate(model, split, hand_plan())
    confusion, mistakes = judge(model, split, hand_plan(), 10)
    right = sum(confusion[i][i] for i in range(10))
    assert loss > 0
    assert accuracy == right / len(split)
    assert sum(map(sum, confusion)) == len(split)
    assert len(mistakes) == min(50, len(split) - right)
    assert [m["probability"] for m in mistakes] == sorted((m["probability"] for m in mistakes), reverse=True)
    assert all(split.labels[m["index"]] == m["label"] != m["predicted"] for m in mistakes)
