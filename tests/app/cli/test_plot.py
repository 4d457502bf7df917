"""Plans are drawn as PNG or as a page."""

from pathlib import Path

import pytest

from app.cli.plot import check_plot_name, plan_page, plot_plan
from s2a_core.errors import InvalidInput
from s2a_core.planning.peak import Point
from tests.app.cli.test_explain import PLAN


def test_a_plan_is_drawn_to_both_kinds(tmp_path: Path) -> None:
    plot_plan(PLAN, tmp_path / "p.png")
    plot_plan(PLAN, tmp_path / "p.html")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "</html>" in (tmp_path / "p.html").read_text()
    with pytest.raises(InvalidInput):
        check_plot_name(Path("p.pdf"))


def test_the_course_of_a_step_is_drawn_with_its_phases(tmp_path: Path) -> None:
    phases = ("forward", "backward", "optimizer", "evaluation")
    course = [
        Point(phase, "blocks.0:gelu", 0, 0, 0, size * 2**20)
        for phase, size in zip(phases, (40, 90, 60, 30), strict=True)
    ]
    plot_plan(PLAN, tmp_path / "p.png", course)
    page = plan_page(PLAN, course)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "Memory over one step" in page
    assert "as predicted" in page
    assert "Memory over one step" not in plan_page(PLAN)
