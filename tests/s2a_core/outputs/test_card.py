"""The model card has front matter and the numbers."""

from typing import Any

from s2a_core.outputs.card import model_card


def test_the_card_says_what_and_how_good(report: dict[str, Any], plan: dict[str, Any]) -> None:
    card = model_card(report, plan)
    assert card.startswith("---\nlibrary_name: timm")
    assert "82.60 %" in card
    assert "211 MiB" in card
