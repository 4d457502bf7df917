"""Splits are sequences of (image, label) that apply a transform and survive pickling."""

from __future__ import annotations

import json
import pickle

from s2a_core.datasets import DatasetReport, open_dataset


def test_a_split_gives_transformed_images_and_labels() -> None:
    dataset = open_dataset("digits")
    image, label = dataset.train[0]
    assert (image.mode, image.size, label) == ("RGB", (32, 32), dataset.train.labels[0])
    sized = dataset.train.with_transform(lambda img: img.size)
    assert sized[3] == ((32, 32), dataset.train.labels[3])
    assert len(sized[:5]) == 5


def test_a_split_can_be_sent_to_a_worker() -> None:
    dataset = open_dataset("digits")
    again = pickle.loads(pickle.dumps(dataset.val[:3]))
    assert again.labels == dataset.val[:3].labels


def test_a_report_is_plain_json() -> None:
    report = open_dataset("digits").report
    assert isinstance(report, DatasetReport)
    document = json.loads(json.dumps(report.to_json()))
    assert document["num_train"] + document["num_val"] == 1797
    assert document["class_counts"]["0"] == [142, 36]
