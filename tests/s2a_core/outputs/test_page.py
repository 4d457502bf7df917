"""The page needs nothing from anywhere."""

import re
from typing import Any

from s2a_core.outputs.page import render_page


def test_the_page_stands_alone(report: dict[str, Any], plan: dict[str, Any]) -> None:
    page = render_page(report, plan)
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "<script" not in page
    assert "stayed 45 MiB below its budget" in page


def test_a_poor_report_still_makes_a_page() -> None:
    assert "</html>" in render_page({"model": "<m>"}, {})
