"""Precision and recall by class, from counts that are known."""

from s2a_core.outputs.class_figures import ClassFigures, class_figures


def test_precision_counts_answers_and_recall_counts_images() -> None:
    report = {"classes": ["cat", "dog", "owl"], "confusion": [[6, 2, 0], [1, 3, 0], [0, 0, 0]]}
    assert class_figures(report) == [
        ClassFigures("cat", 8, 6 / 7, 6 / 8),
        ClassFigures("dog", 4, 3 / 5, 3 / 4),
        ClassFigures("owl", 0, None, None),
    ]


def test_without_a_matrix_there_are_none() -> None:
    assert class_figures({}) == []
