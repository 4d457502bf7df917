"""Pictures of memory and of training as inline SVG: no script, no style attribute, colours from the style sheet."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from app.web.formats import EXACT
from app.web.formats import size as format_bytes
from s2a_core.outputs.charts import Format, Level, Line, Span, line_chart
from s2a_core.outputs.memory_sections import mebibytes, thinned, timeline_chart
from s2a_core.outputs.parts import part_of, parts_of
from s2a_core.planning.peak import Point

Document = Mapping[str, Any]
WIDTH = 1000.0
SLIVER, PEAK_ROOM = 0.25, 1.25  # share of the budget below which a bar is zoomed; of the peak, where it then ends
JOB_COLOURS = ("c1", "c3", "c4", "c5", "c7", "c2")


@dataclass(frozen=True)
class Piece:
    """A part of a bar. css: its colour class; href: where a click leads, if anywhere."""

    name: str
    num_bytes: int
    css: str
    href: str = ""


def pieces_of(breakdown: Document) -> list[Piece]:
    """The parts of a predicted peak in the order they are drawn."""
    return [Piece(part.words, num_bytes, part.css) for part, num_bytes in parts_of(breakdown)]


def device_pieces(device: Document, root: str = "") -> list[Piece]:
    """What a device's memory holds: the machine's part, other processes, and every job."""
    pieces = [
        Piece(words, int(device.get(name) or 0), css)
        for name, words, css in (
            ("reserve_bytes", "kept for the machine", "c6"),
            ("baseline_bytes", "in use before any job", "c6"),
            ("used_by_others_bytes", "other processes", "c8"),
        )
    ]
    for number, job in enumerate(device.get("jobs") or []):
        name = job["name"] or job["model"] or "another team's job"
        href = f"{root}/jobs/{job['job_id']}" if job["job_id"] else ""
        pieces.append(Piece(name, int(job["reserved_bytes"]), JOB_COLOURS[number % len(JOB_COLOURS)], href))
    return [piece for piece in pieces if piece.num_bytes > 0]


def binding_pieces(details: Document) -> list[Piece]:
    """The smallest budget that fits, split into its largest part and the rest."""
    whole, largest = int(details["min_feasible_budget_bytes"]), int(details.get("binding_bytes") or 0)
    name = str(details.get("binding") or "largest part")
    return [Piece(part_of(name).words, largest, "c2"), Piece("everything else", whole - largest, "c6")]


def compare_bar(num_bytes: int, top: int, budget: int, label: str) -> Markup:
    """One method's peak on the scale of the largest, with the budget as a line."""
    css = "good" if num_bytes <= budget else "bad"
    words = f"{label}: {format_bytes(num_bytes)}"
    return memory_bar([Piece(label, num_bytes, css)], top, words, [("budget", budget)], height=16)


def memory_bar(
    pieces: Sequence[Piece], total_bytes: int, label: str, marks: Sequence[tuple[str, int]] = (), height: int = 34
) -> Markup:
    """Pieces side by side on a track of `total_bytes`; marks: (css class, bytes) as vertical lines."""
    top = max([total_bytes, sum(p.num_bytes for p in pieces), *(at for _, at in marks), 1])
    drawn, x = [], 0.0
    for piece in pieces:
        width = WIDTH * piece.num_bytes / top
        words = html.escape(f"{piece.name}: {format_bytes(piece.num_bytes)}")
        rect = (
            f'<rect class="piece {piece.css}" x="{x:.2f}" y="0" width="{max(width - 1.5, 0.8):.2f}" '
            f'height="{height}"><title>{words}</title></rect>'
        )
        drawn.append(rect)
        x += width
    for css, at in marks:
        place = min(WIDTH - 1, WIDTH * at / top)
        drawn.append(f'<line class="mark {css}" x1="{place:.2f}" x2="{place:.2f}" y1="0" y2="{height}"/>')
    return Markup(
        f'<svg class="bar" viewBox="0 0 {WIDTH:.0f} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{html.escape(label)}"><rect class="track" x="0" y="0" width="{WIDTH:.0f}" height="{height}"/>'
        f"{''.join(drawn)}</svg>"
    )


def bar_end(budget: int, predicted: int | None, measured: int | None) -> int:
    """Where a memory bar ends: at the budget, or a little behind the peak where it would be a sliver of the budget."""
    peak = max(predicted or 0, measured or 0)
    return int(PEAK_ROOM * peak) if 0 < peak < SLIVER * budget else budget


def meter(value: float, total: float, label: str, css: str = "c1") -> Markup:
    """A thin bar of one value."""
    part = Piece(label, int(value), css)
    return memory_bar([part] if value > 0 else [], int(max(total, 1)), label, height=8)


def frontier(plan: Document, others: Sequence[Document]) -> Markup:
    """Gradient error against memory: what other budgets would buy, and the budget that was asked for."""
    points = sorted(
        {(float(p["peak_bytes"]), 100 * float(p["gradient_error"])) for p in [*(plan.get("frontier") or []), *others]}
    )
    if len(points) < 2:
        return Markup('<p class="empty">One plan only: more memory would buy nothing.</p>')
    if points[0][1] < 100 * EXACT:
        words = f"Exact from the smallest budget on ({mebibytes(points[0][0])}): more memory buys no better gradient."
        return Markup(f'<p class="empty">{words}</p>')
    return _by_peak(Line("gradient error", points, "c1", is_area=True), lambda y: f"{y:.2g} %")


def step_times(plan: Document, others: Sequence[Document]) -> Markup:
    """Step time against memory."""
    rows = [*(plan.get("frontier") or []), *others]
    points = sorted({(float(p["peak_bytes"]), float(p["relative_step_time"])) for p in rows})
    if not points:
        return Markup("")
    if max(y for _, y in points) - min(y for _, y in points) < 0.005:
        return Markup(f'<p class="empty">{points[0][1]:.3g}× at every budget: more memory buys no faster step.</p>')
    return _by_peak(Line("step time", points, "c2", is_area=True), lambda y: f"{y:.2g}×")


def _by_peak(line: Line, y_format: Format) -> Markup:
    title = f"{line.name.capitalize()} against predicted peak memory"
    drawn = line_chart([line], title=title, x_label="predicted peak", x_format=mebibytes, y_format=y_format, height=300)
    return Markup(drawn)


def predicted_timeline(course: Sequence[Point], budget: int) -> Markup:
    """Memory over one step as planned: every moment of its last micro-batch, then those of the whole model."""
    if len(course) < 2:
        return Markup("")
    total = [(float(i), float(point.num_bytes)) for i, point in enumerate(course)]
    held = [(float(i), float(point.num_bytes - point.work)) for i, point in enumerate(course)]
    spans = []
    for phase, points in groupby(enumerate(course), key=lambda item: item[1].phase):
        places = [i for i, _ in points]
        if len(places) > 1:  # the others are too narrow for their names
            spans.append(Span(phase, places[0], places[-1]))
    peak = max(point.num_bytes for point in course)
    drawn = line_chart(
        [Line("in use", total, "c1", is_area=True), Line("held for backward", held, "c3", is_area=True)],
        title=f"Memory over one step, {format_bytes(peak)} at most, under a budget of {format_bytes(budget)}",
        levels=[Level("budget", float(budget))],
        spans=spans,
        x_format=lambda x: "",
        y_format=mebibytes,
        height=300,
    )
    return Markup(drawn)


def measured_timeline(report: Document) -> Markup:
    """Memory over one measured step under the budget line."""
    return Markup(timeline_chart(report, height=300))


def curves(
    series: Mapping[str, Sequence[Document]], names: Mapping[str, tuple[str, str]], title: str, is_share: bool = False
) -> Markup:
    """Curves of a job. names: series -> (name, colour class). Epochs are placed at the step they ended with."""
    steps = max((p["step"] for p in series.get("step.loss", ())), default=0)
    epochs = max((p["step"] for points in series.values() for p in points[-1:] if points), default=1)
    num_epochs = max((p["step"] for p in series.get("epoch.val_loss", ())), default=0)
    lines = []
    for name, (words, css) in names.items():
        samples = series.get(name) or ()
        scale = steps / num_epochs if name.startswith("epoch.") and steps and num_epochs else 1.0
        points = [(p["step"] * scale, float(p["value"])) for p in samples]
        if points:
            lines.append(Line(words, thinned(points, 400), css, is_dashed=name.startswith("epoch.")))
    if not lines or epochs < 1:
        return Markup('<p class="empty">Curves appear with the first training step.</p>')
    drawn = line_chart(
        lines,
        title=title,
        x_label="step",
        x_format=lambda x: f"{x:.0f}",
        y_format=(lambda y: f"{100 * y:.0f} %") if is_share else (lambda y: f"{y:.3g}"),
        height=260,
    )
    return Markup(drawn)


def error_spread(errors: Sequence[float]) -> Markup:
    """Every prediction's relative error as a dot on one axis; zero is a perfect prediction."""
    if not errors:
        return Markup("")
    reach = max(0.02, *(abs(e) for e in errors)) * 1.1
    dots = "".join(
        f'<circle class="dot {"c2" if e > 0 else "c1"}" cx="{500 + 480 * e / reach:.1f}" '
        f'cy="{40 + 9 * ((i % 5) - 2)}" r="5"><title>{100 * e:+.2f} %</title></circle>'
        for i, e in enumerate(errors)
    )
    ticks = "".join(
        f'<text class="tick x" x="{500 + 480 * t:.0f}" y="96">{100 * t * reach:+.1f} %</text>'
        for t in (-1, -0.5, 0.5, 1)
    )
    return Markup(
        f'<svg class="chart spread" viewBox="-10 0 1030 104" role="img" aria-label="{len(errors)} prediction errors">'
        f'<line class="axis" x1="0" x2="1000" y1="76" y2="76"/>'
        f'<line class="level zero" x1="500" x2="500" y1="6" y2="76"/>'
        f'{dots}{ticks}<text class="tick x" x="500" y="96">as predicted</text></svg>'
    )
