"""The model card has front matter and the numbers."""

import html
from typing import Any

import pytest

from s2a_core.outputs.card import export_words, model_card
from s2a_core.outputs.page import render_page


def test_the_card_says_what_and_how_good(report: dict[str, Any], plan: dict[str, Any]) -> None:
    card = model_card(report, plan)
    assert card.startswith("---\nlibrary_name: timm")
    assert "82.60 %" in card
    assert "211 MiB" in card
    assert "| gradient error | not known |" in card
    plan = {**plan, "predicted": {"gradient_error": 0.034}, "measured_gradient_error": 0.0312}
    assert "| gradient error | 0.034, measured 0.031 |" in model_card(report, plan)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("pretrained", "timm's pretrained ones"),
        (None, "ship with s2a"),
        ("none", "every weight"),
        ("a/b.st", "`b.st`"),
    ],
)
def test_the_card_says_which_weights_are_needed_and_names_a_hub_model_only_where_it_began_with_one(
    report: dict[str, Any], plan: dict[str, Any], weights: str | None, words: str
) -> None:
    model = "resnet18" if weights else "s2a_tiny"
    card = model_card({**report, "model": model, "weights": weights}, plan)
    assert words in card
    assert ("\nbase_model: timm/" in card) == (weights == "pretrained")


def test_the_line_that_exports_writes_what_the_adapter_allows(report: dict[str, Any], plan: dict[str, Any]) -> None:
    """A file name of .safetensors would be refused where the adapter does not merge."""
    merged, kept = ({**report, "adapter": {"kinds": kinds}} for kinds in (["bias"], ["bias", "side"]))
    assert export_words(merged) == "model.safetensors, a checkpoint of plain timm"
    assert export_words(kept).startswith("model.zip, a package that s2a_core loads; side: ")
    for one in (merged, kept):
        assert f"s2a export .                         # {export_words(one)}" in model_card(one, plan)
        assert f"s2a export DIR               # {html.escape(export_words(one))}" in render_page(one, plan)
