"""Charts are well-formed SVG with round ticks."""

import re
import xml.etree.ElementTree as ElementTree

from s2a_core.outputs.charts import Level, Line, line_chart, ticks


def test_a_chart_is_well_formed_and_drawn_for_both_widths() -> None:
    drawn = line_chart([Line("a<b", [(0, 1), (1, 3)])], title="t", levels=[Level("budget", 4)])
    root = ElementTree.fromstring(f"<x>{drawn}</x>")
    assert [svg.get("class") for svg in root.findall("svg")] == ["chart wide", "chart narrow"]
    assert "a&lt;b" in drawn


def test_ticks_are_round() -> None:
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]


def test_nothing_to_draw_says_so() -> None:
    assert "Nothing was recorded" in line_chart([], title="t")


def test_words_of_levels_that_are_close_do_not_lie_on_one_another() -> None:
    levels = [Level("budget", 24.0), Level("predicted", 23.5)]
    drawn = line_chart([Line("in use", [(0, 1), (1, 22)])], title="t", levels=levels)
    root = ElementTree.fromstring(f"<x>{drawn}</x>")
    for svg in root.findall("svg"):
        budget, predicted = (float(t.get("y", 0)) for t in svg.findall("text") if "leveltext" in t.get("class", ""))
        assert predicted - budget >= 15


def test_values_below_zero_have_an_axis_that_reaches_them() -> None:
    for values in ([-0.5, -0.1], [-2.0, 1.0], [-0.3]):
        for y_from_zero in (True, False):
            points = [(float(i), value) for i, value in enumerate(values)]
            drawn = line_chart([Line("R²", points)], title="R²", y_from_zero=y_from_zero)
            heights = [float(y) for y in re.findall(r'cy="([-\d.]+)"', drawn)]
            assert all(0 < y < 280 for y in heights)
            assert len(heights) == 2 * len(values)
