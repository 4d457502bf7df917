"""`--plot` of `s2a plan` and `s2a runs`: a plan's frontier, parts and course, or the curves of runs, as PNG or page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from s2a_core.errors import InvalidInput
from s2a_core.outputs.atomic import replacing, write_text
from s2a_core.outputs.charts import Line, line_chart
from s2a_core.outputs.comparison import CURVES, Run, comparison_page
from s2a_core.outputs.document import html_document
from s2a_core.outputs.memory_sections import (
    baselines_section,
    budget_section,
    mebibytes,
    storage_section,
    timeline_section,
)
from s2a_core.pictures import draw_curves, draw_frontier, draw_parts
from s2a_core.planning.peak import BEST, OPTIMIZER, Point

Document = Mapping[str, Any]
PREDICTED_WORDS = "Most bytes alive in each site's turn of a step and of an evaluation, as predicted"


def check_plot_name(path: Path) -> None:
    """Raise InvalidInput for a file that is neither .png nor .html, before anything is computed."""
    if path.suffix.lower() not in (".png", ".html", ".htm"):
        raise InvalidInput(f"--plot takes FILE.png or FILE.html, not {path}")


def plot_plan(plan: Document, path: Path, course: Sequence[Point] = ()) -> None:
    """Draw a plan document to `path`. course: of `predicted_course`, left out where empty."""
    if path.suffix.lower() == ".png":
        _draw_png(plan, path, course)
    else:
        write_text(path, plan_page(plan, course))


def plot_runs(runs: Sequence[Run], path: Path) -> None:
    """The curves of runs overlaid: a PNG, or a page with tables of the runs and of what differs.

    Raises InvalidInput where no run has a curve.
    """
    panels = {
        curve.name: (curve.x_label, {run.name: run.curves[curve.name] for run in runs if curve.name in run.curves})
        for curve in CURVES
    }
    panels = {title: panel for title, panel in panels.items() if panel[1]}
    if not panels:
        raise InvalidInput("none of these runs has a curve: they are not finished")
    if path.suffix.lower() == ".png":
        with replacing(path) as unfinished:
            draw_curves(panels).savefig(unfinished, format="png", dpi=140)
    else:
        write_text(path, comparison_page(runs))


def plan_page(plan: Document, course: Sequence[Point] = ()) -> str:
    """A page that opens offline: budget bar, memory over a step, frontier, baselines, storage per site."""
    report = {
        "budget_bytes": plan.get("budget_bytes"),
        "predicted_peak_bytes": (plan.get("predicted") or {}).get("peak_bytes"),
        "adapter": plan.get("adapter"),
        "memory_timeline": [(i, point.num_bytes, point.phase) for i, point in enumerate(course)],
    }
    points = sorted((float(p["peak_bytes"]), float(p["gradient_error"])) for p in plan.get("frontier") or ())
    chart = line_chart(
        [Line("gradient error", points, "c1")],
        title="Gradient error against memory",
        x_label="predicted peak",
        x_format=mebibytes,
        y_format=lambda y: f"{y:.3g}",
        height=300,
    )
    body = (
        f"{budget_section(report, plan)}{timeline_section(report, PREDICTED_WORDS)}"
        "<section><h2>Frontier</h2><p class='sub'>The smallest gradient error that each amount of memory allows.</p>"
        f"{chart}</section>{baselines_section(report, plan)}{storage_section(plan)}"
    )
    return html_document("s2a plan", f"{plan['model']} within {mebibytes(float(plan['budget_bytes']))}", body)


def _draw_png(plan: Document, path: Path, course: Sequence[Point]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15 if course else 11, 4.2), layout="constrained")
    axes = figure.subplots(1, 3 if course else 2, width_ratios=(1, 2, 2) if course else (1, 2))
    draw_parts(axes[0], plan)
    if course:
        _draw_course(axes[1], course, int(plan["budget_bytes"]) / 2**20)
    draw_frontier(axes[-1], plan)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=140)


def _draw_course(axes: Any, course: Sequence[Point], limit: float) -> None:
    """Bytes over the turns of a step, the phases named below."""
    axes.fill_between(range(len(course)), [p.num_bytes / 2**20 for p in course], step="mid", alpha=0.4)
    axes.axhline(limit, color="crimson")
    axes.set_ylim(bottom=0)
    first: dict[str, int] = {}
    for i, point in enumerate(course):
        first.setdefault(point.phase, i)
    names = [name for name in first if name not in (OPTIMIZER, BEST)]  # one turn each, beside the evaluation's
    axes.set_xticks([first[name] for name in names], names, fontsize=8)
    axes.set_title("memory over a step, MiB")
