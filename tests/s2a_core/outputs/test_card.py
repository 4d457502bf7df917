"""The model card has front matter and the numbers."""

from typing import Any

import pytest

from s2a_core.outputs.card import model_card


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
