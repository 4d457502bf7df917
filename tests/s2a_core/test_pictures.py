"""Tables and figures of a profile and a plan carry their numbers, and stay small."""

from __future__ import annotations

from s2a_core.outputs.parts import parts_of
from s2a_core.pictures import MOST_ROWS, profile_rows
from s2a_core.planning import plan
from tests.s2a_core.planning.profiles import transformer


def test_a_profile_shows_its_operators_and_a_plan_its_parts() -> None:
    profile = transformer(3)
    rows = profile_rows(profile.to_json())
    assert sum(row[1] for row in rows) == len(profile.sites)
    assert [row[2] for row in rows] == sorted((row[2] for row in rows), reverse=True)
    shown = profile._repr_html_()
    assert all(f"<td>{row[0]}</td>" in shown for row in rows[:MOST_ROWS])
    made = plan(profile, 10 * 2**20, 4)
    shown = made._repr_html_()
    assert all(f"<td>{part.words}</td>" in shown for part, _ in parts_of(made.predicted.breakdown))
    assert shown.count("<tr>") <= MOST_ROWS + 1


def test_figures_draw_what_the_documents_say() -> None:
    profile = transformer(3)
    (axes,) = profile.plot().axes
    assert len(axes.patches) == 2 * min(MOST_ROWS, len(profile_rows(profile.to_json())))
    made = plan(profile, 10 * 2**20, 4)
    bar, front = made.plot().axes
    assert sum(patch.get_height() for patch in bar.patches) * 2**20 == sum(made.predicted.breakdown.values())  # type: ignore[attr-defined]
    assert len(front.lines[0].get_xdata()) == len(made.frontier)  # type: ignore[arg-type]
