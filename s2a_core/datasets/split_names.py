"""Directories that are parts of a dataset (training, validation) and not classes, by their names and what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

TRAIN_WORDS = ("train", "training", "trainset", "trn")
VAL_WORDS = ("val", "valid", "validation", "dev", "test", "testing", "testset", "eval", "evaluation", "holdout")
# Parts that are neither: images without labels, or a fold of several.
OTHER_WORDS = ("pred", "predict", "prediction", "unlabeled", "unlabelled", "extra", "fold", "part", "split", "subset")
_ALIKE = 0.8  # of the subdirectories of two parts have the same names


def split_role(name: str) -> str | None:
    """ "train", "val" or "other" for a directory named like a part of a dataset, else None.

    The word may stand among others: seg_train, asl_alphabet_test, train2017, Training Images, val_set.
    """
    words = [word for word in re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()) if word]
    for role, known in (("train", TRAIN_WORDS), ("val", VAL_WORDS), ("other", OTHER_WORDS)):
        if any(word in known for word in words):
            return role
    return None


def rank(name: str) -> tuple[int, int, str]:
    """Order of preference among directories of one role: val before test, and the plain word before longer names."""
    words = re.split(r"[^a-z]+", name.lower())
    place = next((i for i, word in enumerate((*TRAIN_WORDS, *VAL_WORDS)) if word in words), 99)
    return place, len(name), name


def look_alike(children: Mapping[str, Set[str]]) -> list[str]:
    """Names of two or more directories that hold nearly the same subdirectories. children: directory -> names in it."""
    names = [name for name in sorted(children) if len(children[name]) > 1]
    for first in names:
        alike = [
            name
            for name in names
            if len(children[first] & children[name]) >= _ALIKE * max(len(children[first]), len(children[name]))
        ]
        if len(alike) > 1:
            return alike
    return []
