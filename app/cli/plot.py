"""`s2a plan --plot`: the frontier and the parts of the peak as a PNG or as a page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from s2a_core.errors import InvalidInput
from s2a_core.outputs.atomic import replacing, write_text
from s2a_core.outputs.charts import Line, line_chart
from s2a_core.outputs.memory_sections import baselines_section, budget_section, mebibytes, parts_of, storage_section

Document = Mapping[str, Any]


def check_plot_name(path: Path) -> None:
    """Raise InvalidInput for a file that is neither .png nor .html, before anything is computed."""
    if path.suffix.lower() not in (".png", ".html", ".htm"):
        raise InvalidInput(f"--plot takes FILE.png or FILE.html, not {path}")


def plot_plan(plan: Document, path: Path) -> None:
    """Draw a plan document to `path`."""
    if path.suffix.lower() == ".png":
        _draw_png(plan, path)
    else:
        write_text(path, plan_page(plan))


def plan_page(plan: Document) -> str:
    """A page that opens offline: budget bar, frontier, baselines, storage per site."""
    report = {
        "budget_bytes": plan.get("budget_bytes"),
        "predicted_peak_bytes": (plan.get("predicted") or {}).get("peak_bytes"),
        "adapter": plan.get("adapter"),
    }
    points = frontier_points(plan)
    chart = line_chart(
        [Line("gradient error", [(size, error) for size, error in points], "c1")],
        title="Gradient error against memory",
        x_label="predicted peak",
        x_format=mebibytes,
        y_format=lambda y: f"{y:.3g}",
        height=300,
    )
    title = html.escape(f"{plan.get('model')} within {mebibytes(float(plan.get('budget_bytes') or 0))}")
    style = files("s2a_core.outputs").joinpath("report.css").read_text(encoding="utf-8").replace("\n", "")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{title}</title><style>{style}</style></head><body><main>'
        f'<p class="kicker">s2a plan</p><h1>{title}</h1>{budget_section(report, plan)}'
        "<section><h2>Frontier</h2><p class='sub'>The smallest gradient error that each amount of memory allows.</p>"
        f"{chart}</section>{baselines_section(report, plan)}{storage_section(plan)}</main></body></html>\n"
    )


def frontier_points(plan: Document) -> list[tuple[float, float]]:
    """(peak bytes, gradient error) of the frontier, by memory."""
    points = [
        (float(p.get("peak_bytes") or p.get("budget_bytes") or 0), float(p["gradient_error"]))
        for p in plan.get("frontier") or []
        if p.get("gradient_error") is not None
    ]
    return sorted(points)


def _draw_png(plan: Document, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    bar, front = figure.subplots(1, 2, width_ratios=(1, 2))
    floor = 0.0
    predicted = plan.get("predicted") or {}
    for name, size, _ in parts_of(predicted.get("breakdown") or {}):
        bar.bar(["peak"], [size / 2**20], bottom=floor, label=name, width=0.5)
        floor += size / 2**20
    limit = float(plan.get("budget_bytes") or 0) / 2**20
    bar.axhline(limit, color="crimson", label="budget")
    bar.set_ylabel("MiB")
    bar.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    points = frontier_points(plan)
    front.plot([x / 2**20 for x, _ in points], [y for _, y in points], marker="o")
    front.axvline(limit, color="crimson")
    front.set_xlabel("predicted peak, MiB")
    front.set_ylabel("gradient error")
    front.set_title(str(plan.get("model")))
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=140)
