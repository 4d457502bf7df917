"""Pictures: sizes are right, names are escaped, nothing needs a style attribute or a script."""

from __future__ import annotations

import re

from app.web import charts
from app.web.charts import Piece
from s2a_core.planning.peak import Point

TIMES = [{"step": n, "value": 1.0 / n} for n in range(1, 900)]


def test_a_bar_is_as_long_as_its_bytes_and_names_are_escaped() -> None:
    drawn = charts.memory_bar([Piece("<b>", 250, "c1"), Piece("rest", 250, "c2")], 1000, "bar", [("budget", 500)])
    widths = [float(w) for w in re.findall(r'class="piece c\d" x="[\d.]+" y="0" width="([\d.]+)"', drawn)]
    assert widths == [248.5, 248.5]
    assert 'x1="500.00"' in drawn
    assert "&lt;b&gt;" in drawn
    assert "<b>" not in drawn
    assert "style=" not in drawn


def test_what_is_larger_than_its_track_still_fits_the_picture() -> None:
    drawn = charts.memory_bar([Piece("job", 300, "c1")], 100, "bar")
    assert 'width="998.50"' in drawn


def test_a_device_shows_the_machine_other_processes_and_jobs() -> None:
    jobs = [
        {"job_id": "job_1", "name": "", "model": "vit", "reserved_bytes": 5},
        {"job_id": None, "name": None, "model": None, "reserved_bytes": 7},
    ]
    pieces = charts.device_pieces({"reserve_bytes": 1, "baseline_bytes": 0, "used_by_others_bytes": 2, "jobs": jobs})
    assert [(p.name, p.num_bytes, p.href) for p in pieces] == [
        ("kept for the machine", 1, ""),
        ("other processes", 2, ""),
        ("vit", 5, "/jobs/job_1"),
        ("another team's job", 7, ""),
    ]


def test_curves_wait_for_the_first_step_and_keep_every_extreme() -> None:
    names = {"step.loss": ("training loss", "c1")}
    assert "first training step" in charts.curves({}, names, "Loss")
    epochs = [{"step": 1, "value": 0.9}, {"step": 2, "value": 0.8}]
    drawn = charts.curves(
        {"step.loss": TIMES, "epoch.val_loss": epochs}, {**names, "epoch.val_loss": ("v", "c2")}, "Loss"
    )
    assert "training loss" in drawn
    assert "at 899" in drawn  # the second epoch ends at the last step
    points = [(float(n), float(n == 777)) for n in range(5000)]
    kept = charts.thinned(points, 100)
    assert len(kept) <= 110
    assert (777.0, 1.0) in kept


def test_frontiers_timelines_and_spreads_draw_or_say_what_is_missing() -> None:
    row = {"peak_bytes": 2**20, "gradient_error": 0.1, "relative_step_time": 1.0}
    assert "more memory would buy nothing" in charts.frontier({}, [row])
    assert "<svg" in charts.frontier({"frontier": [row]}, [{**row, "peak_bytes": 2**21}])
    slower = {**row, "peak_bytes": 2**21, "relative_step_time": 1.2}
    assert "<svg" in charts.step_times({}, [row, slower])
    assert "no faster step" in charts.step_times({}, [row, {**row, "peak_bytes": 2**21}])
    exact = {**row, "gradient_error": 1e-7}
    assert "no better gradient" in charts.frontier({}, [exact, {**exact, "peak_bytes": 2**21}])
    assert "no faster step" in charts.step_times({}, [row])
    assert charts.step_times({}, []) == ""
    course = [
        Point(phase, "a", 5, 3, 0, size) for phase, size in (("forward", 108), ("forward", 110), ("backward", 115))
    ]
    drawn = charts.predicted_timeline(course, 200)
    assert "115 B at most, under a budget of 200 B" in drawn
    assert ">forward<" in drawn
    assert charts.predicted_timeline([], 200) == ""
    report = {"memory_timeline": [[0.0, 5], [1.0, 9]], "budget_bytes": 12, "predicted_peak_bytes": 10}
    assert "predicted" in charts.measured_timeline(report)
    assert charts.measured_timeline({}) == ""
    phases = {**report, "memory_timeline": [[i, 5, "forward" if i < 40 else "backward"] for i in range(80)]}
    assert {">forward<", ">backward<"} <= set(re.findall(r">\w+<", charts.measured_timeline(phases)))
    assert charts.error_spread([]) == ""
    assert charts.error_spread([0.01, -0.02]).count("<circle") == 2


def test_parts_bindings_and_comparisons_have_words() -> None:
    assert [p.name for p in charts.pieces_of({"held": 2, "weights": 1, "odd": 3, "input": 0})] == [
        "weights",
        "held for backward",
        "odd",
    ]
    found = charts.binding_pieces({"min_feasible_budget_bytes": 10, "binding": "weights", "binding_bytes": 6})
    assert [p.num_bytes for p in found] == [6, 4]
    assert "piece bad" in charts.compare_bar(20, 40, 10, "full")
    assert "aria-label" in charts.meter(0, 0, "none")


def test_a_small_peak_of_a_large_budget_fills_the_bar() -> None:
    assert charts.bar_end(8 * 2**30, 138 * 2**20, None) == int(1.25 * 138 * 2**20)
    assert charts.bar_end(8 * 2**30, 138 * 2**20, 150 * 2**20) == int(1.25 * 150 * 2**20)
    assert charts.bar_end(2**30, 2**29, None) == 2**30
    assert charts.bar_end(2**30, None, None) == 2**30
