"""The memory sections show the budget, the parts, and who is over it."""

from typing import Any

from s2a_core.outputs.memory_sections import (
    baselines_section,
    budget_section,
    error_words,
    storage_section,
    timeline_section,
)


def test_the_budget_section_names_every_part(report: dict[str, Any], plan: dict[str, Any]) -> None:
    page = budget_section(report, plan)
    assert all(name in page for name in plan["predicted"]["breakdown"])
    assert "measured 211 MiB" in page


def test_methods_over_the_budget_are_marked(report: dict[str, Any], plan: dict[str, Any]) -> None:
    assert baselines_section(report, plan).count('class="row over"') == 4


def test_the_timeline_keeps_its_peak_when_thinned(report: dict[str, Any]) -> None:
    report["memory_timeline"] = [[i, 2**20 * (300 if i == 7777 else 10)] for i in range(20000)]
    assert "budget" in timeline_section(report)


def test_every_site_is_listed(plan: dict[str, Any]) -> None:
    assert storage_section(plan).count("<code>") == 72


def test_the_predicted_and_the_measured_gradient_error_are_told(plan: dict[str, Any]) -> None:
    assert error_words(plan) == ""
    plan["predicted"]["gradient_error"] = 0.0
    assert "in the mean, gradient error 0 (exact). From" in storage_section(plan)
    assert error_words({**plan, "measured_gradient_error": 0.0312}) == "0 (exact), measured 0.031"


def test_what_each_storage_holds_is_told_with_whole_regions_apart(plan: dict[str, Any]) -> None:
    plan["sites"] = [{"name": "a:region", "storage": "b4"}, {"name": "b:gelu", "storage": "b4"}]
    plan["held_by_storage"] = {"region b4": 3 * 2**20, "b4": 2**20}
    page = storage_section(plan)
    assert "region b4" in page
    assert all(f"<td class='num'>{size}</td>" in page for size in ("3.0 MiB", "1.0 MiB"))
