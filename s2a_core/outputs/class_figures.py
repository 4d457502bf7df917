"""Precision and recall of each class, from the confusion of a run's validation images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClassFigures:
    """One class. images: of it in validation; precision: share of the answers of this class that are right, None
    where there is no such answer; recall: share of its images that were recognised, None where it has none.
    """

    name: str
    images: int
    precision: float | None
    recall: float | None


def class_figures(report: Mapping[str, Any]) -> list[ClassFigures]:
    """The classes of report.json, those of the lowest recall first; empty without a confusion matrix."""
    matrix = report.get("confusion") or []
    if not matrix:
        return []
    names = [str(name) for name in report.get("classes") or range(len(matrix))]
    answers = [sum(column) for column in zip(*matrix, strict=True)]
    rows = [
        ClassFigures(
            name,
            sum(row),
            row[label] / answers[label] if answers[label] else None,
            row[label] / sum(row) if sum(row) else None,
        )
        for label, (name, row) in enumerate(zip(names, matrix, strict=True))
    ]
    return sorted(rows, key=lambda row: 2.0 if row.recall is None else row.recall)
