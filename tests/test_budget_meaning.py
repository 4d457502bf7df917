"""What a budget means is said in one sentence, the same in every page, report and option."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.web.rendering import _environment
from s2a_core.outputs.card import model_card
from s2a_core.outputs.memory_sections import budget_section
from s2a_core.requests import FIELDS
from s2a_core.sizes import BUDGET_MEANS

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "docs/gpu.md",
    "docs/how-it-works.md",
    "docs/tutorial.md",
    "docs/rest.md",
    "docs/recipes/plain-loop.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_sentence(page: str) -> None:
    assert BUDGET_MEANS in " ".join((ROOT / page).read_text().split())


def test_options_reports_and_cards_have_the_sentence() -> None:
    assert BUDGET_MEANS in FIELDS["budget_bytes"].help
    assert BUDGET_MEANS in budget_section({}, {})
    assert BUDGET_MEANS in model_card({}, {})


def test_the_pages_of_the_service_have_the_sentence() -> None:
    assert _environment.globals["budget_means"] == BUDGET_MEANS
    for template in ("macros.html", "job.html"):
        assert "budget_means" in (ROOT / "app" / "web" / "templates" / template).read_text()
