"""Plans are drawn as PNG or as a page."""

from pathlib import Path

import pytest

from app.cli.plot import check_plot_name, plot_plan
from s2a_core.errors import InvalidInput
from tests.app.cli.test_explain import PLAN


def test_a_plan_is_drawn_to_both_kinds(tmp_path: Path) -> None:
    plot_plan(PLAN, tmp_path / "p.png")
    plot_plan(PLAN, tmp_path / "p.html")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "</html>" in (tmp_path / "p.html").read_text()
    with pytest.raises(InvalidInput):
        check_plot_name(Path("p.pdf"))
