"""Curves, confusion and mistakes; many classes are listed instead of drawn."""

from typing import Any

from s2a_core.outputs.quality_sections import (
    classes_section,
    confusion_section,
    curves_section,
    data_section,
    examples_section,
)


def test_sections_show_what_is_there(report: dict[str, Any]) -> None:
    assert curves_section(report).count("<svg") == 4
    assert confusion_section(report).count("hit") == 6
    assert examples_section(report).count("<figure>") == 6
    both = examples_section({**report, "correct": report["mistakes"][:2]})
    assert both.count('<b class="mistakes">') == 6
    assert both.count('<b class="correct">') == 2
    assert classes_section(report).count("<tr>") == 1 + len(report["classes"])
    assert "&lt;a&gt; = b" in data_section(report)


def test_many_classes_are_listed() -> None:
    matrix = [[1] * 30 for _ in range(30)]
    assert "Commonest" in confusion_section({"confusion": matrix, "classes": list(range(30))})


def test_classes_that_are_not_counted_on_the_page_are_said(report: dict[str, Any]) -> None:
    assert "more in report.json" not in data_section(report)
    report["dataset"]["class_counts"] = {f"class {i}": [1, 1] for i in range(1000)}
    assert "and 960 more in report.json" in data_section(report)
