"""Accuracy, confusion and mistakes agree with each other."""

import torch

from s2a_core.models import data_config, load_model
from s2a_core.train.evaluate import evaluate
from s2a_core.train.images import evaluation_transform
from tests.s2a_core.runs import few_digits, hand_plan


def test_accuracy_confusion_and_mistakes_agree() -> None:
    torch.manual_seed(0)
    model = load_model("s2a_tiny", num_classes=10)
    split = few_digits().val.with_transform(evaluation_transform(data_config(model, 32)))
    judged = evaluate(model, split, hand_plan(), 10)
    right = sum(judged.confusion[i][i] for i in range(10))
    probabilities = [mistake["probability"] for mistake in judged.mistakes]
    assert judged.loss > 0
    assert judged.accuracy == right / len(split)
    assert sum(map(sum, judged.confusion)) == len(split)
    assert len(probabilities) == min(50, len(split) - right)
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(split.labels[m["index"]] == m["label"] != m["predicted"] for m in judged.mistakes)
    assert all(split.labels[c["index"]] == c["label"] == c["predicted"] for c in judged.correct)
    assert [c["label"] for c in judged.correct] == [i for i in range(10) if judged.confusion[i][i]]
