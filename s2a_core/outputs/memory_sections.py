"""The report's sections about memory: the budget, a step over time, what other methods need, storage per site."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from s2a_core.adapters.spec import adapter_words
from s2a_core.outputs.charts import Level, Line, Span, line_chart
from s2a_core.outputs.parts import method_words, parts_of
from s2a_core.sizes import BUDGET_MEANS, format_bytes
from s2a_core.storage import kept_as, storage_words, whole_of

Document = Mapping[str, Any]

MEASURED_WORDS = "Bytes alive at every allocation and release of a real training step"
STORAGE_COLOURS = {
    "exact": "6",
    "b8": "7",
    "b6": "1",
    "b5": "1",
    "b4": "4",
    "b3": "5",
    "b2": "2",
    "b1": "2",
    "mask": "3",
}


def budget_section(report: Document, plan: Document) -> str:
    """The budget as a bar: the parts of the predicted peak, what is left, and where the measured peak came to."""
    budget = report.get("budget_bytes") or 0
    measured = report.get("measured_peak_bytes") or 0
    predicted = report.get("predicted_peak_bytes") or 0
    parts = parts_of((plan.get("predicted") or {}).get("breakdown") or {})
    top = max(budget, measured, sum(size for _, size in parts), 1)
    pieces = "".join(
        f'<i class="bg{part.css[1:]}" style="width:{100 * size / top:.2f}%" title="{html.escape(part.words)} {format_bytes(size)}"></i>'
        for part, size in parts
    )
    free = max(0, top - sum(size for _, size in parts))
    keys = "".join(
        f'<span class="key"><i class="{part.css}"></i>{html.escape(part.words)}<b>{format_bytes(size)}</b></span>'
        for part, size in parts
    )
    measured_line = ""
    if measured:
        at = 100 * measured / top
        side = "left" if at > 50 else "right"
        measured_line = (
            f'<div class="mark {side}" style="left:{at:.2f}%"><span>measured {format_bytes(measured)}</span></div>'
        )
    gap = f"{100 * (measured - predicted) / predicted:+.1f} %" if predicted and measured else "not measured"
    return (
        "<section><h2>The budget</h2>"
        f'<p class="sub">Predicted peak {format_bytes(predicted)}, measured {format_bytes(measured)} '
        f"({gap} against the prediction), budget {format_bytes(budget)}. {BUDGET_MEANS} The bar is the whole budget.</p>"
        f'<div class="budgetbar">{measured_line}<div class="stack">{pieces}<i class="free" style="flex:1" '
        f'title="left {format_bytes(free)}"></i></div></div><div class="legend">{keys}'
        f'<span class="key">left<b>{format_bytes(max(0, budget - sum(size for _, size in parts)))}</b></span></div></section>'
    )


def timeline_section(report: Document, words: str = MEASURED_WORDS) -> str:
    """Memory in use over one step, under the budget line. words: what the points are."""
    if not (chart := timeline_chart(report)):
        return ""
    return (
        f"<section><h2>Memory over one step</h2><p class='sub'>{html.escape(words)}: weights, gradients, optimizer "
        f"state, held activations and temporaries.</p>{chart}</section>"
    )


def timeline_chart(report: Document, height: int = 320) -> str:
    """The bytes in use over one step with its phases, the budget and the predicted peak; nothing without a step."""
    points, spans = timeline_of(report.get("memory_timeline") or [])
    if len(points) < 2:
        return ""
    levels = [Level("budget", float(report.get("budget_bytes") or 0))]
    if predicted := report.get("predicted_peak_bytes"):
        levels.append(Level("predicted peak", float(predicted), "predicted"))
    return line_chart(
        [Line("in use", points, "c1", is_area=True)],
        title="Memory in use over one training step",
        levels=[level for level in levels if level.value > 0],
        spans=spans,
        y_format=mebibytes,
        x_format=lambda x: f"{x:.0f} %",
        x_label="progress of one training step",
        height=height,
    )


def baselines_section(report: Document, plan: Document) -> str:
    """What this run took beside what other ways of training the same model would have."""
    baselines = [b for b in plan.get("baselines") or [] if b.get("peak_bytes")]
    if not baselines:
        return ""
    budget = int(report.get("budget_bytes") or 0)
    ours = int(report.get("measured_peak_bytes") or report.get("predicted_peak_bytes") or 0)
    rows = [(f"this run ({adapter_words(report.get('adapter')) or 's2a'})", ours, True)]
    rows += [(method_words(b["name"]), int(b["peak_bytes"]), False) for b in baselines]
    top = max(size for _, size, _ in rows) * 1.02
    drawn = "".join(
        f'<div class="row{" ours" if is_ours else ""}{" over" if size > budget else ""}"><span>{html.escape(name)}</span>'
        f'<span class="track"><i class="fill" style="width:{100 * size / top:.2f}%"></i>'
        f'<i class="limit" style="left:{min(100.0, 100 * budget / top):.2f}%" title="budget {format_bytes(budget)}"></i></span>'
        f'<span class="num">{format_bytes(size)}</span></div>'
        for name, size, is_ours in rows
    )
    return (
        "<section><h2>What other methods would need</h2><p class='sub'>Peak memory for the same model and batch; "
        f"the red line is the budget of {format_bytes(budget)}. This run is measured, the others are predicted.</p>"
        f'<div class="rows">{drawn}</div></section>'
    )


def storage_section(plan: Document) -> str:
    """How each site keeps what backward needs: a strip in forward order, totals by storage, and every site."""
    sites = site_rows(plan)
    if not sites:
        return ""
    strip = "".join(
        f'<i class="bg{STORAGE_COLOURS.get(storage, "6")}" style="opacity:{_opacity(storage)}" '
        f'title="{html.escape(name)}: {html.escape(storage)}"></i>'
        for name, storage in sites
    )
    held: Mapping[str, int] = plan.get("held_by_storage") or {}
    count = Counter((whole_of(name), storage) for name, storage in sites)
    rows = "".join(
        f"<tr><td><span class='key'><i class='bg{STORAGE_COLOURS.get(s, '6')}' style='opacity:{_opacity(s)}'></i></span>"
        f"{html.escape(kept_as(whole, s))}</td><td>{html.escape(storage_words(s, whole))}</td><td class='num'>{n}</td>"
        f"<td class='num'>{format_bytes(size) if (size := held.get(kept_as(whole, s))) else '·'}</td></tr>"
        for (whole, s), n in sorted(count.items(), key=lambda item: -item[1])
    )
    every = "".join(
        f"<tr><td><code>{html.escape(name)}</code></td><td>{html.escape(storage)}</td></tr>" for name, storage in sites
    )
    bits = plan.get("mean_bits")
    mean = f", {float(bits):.2f} bits per value in the mean" if bits is not None else ""
    error = f", gradient error {words}" if (words := error_words(plan)) else ""
    return (
        f"<section><h2>Storage per site</h2><p class='sub'>{len(sites)} places where backward needs something{mean}{error}. "
        "From left to right: the order of the forward pass. Held: by one micro-batch.</p>"
        f'<div class="strip">{strip}</div><div class="scroll"><table><tr><th>storage</th><th>keeps</th>'
        f"<th class='num'>sites</th><th class='num'>held</th></tr>{rows}</table></div>"
        f"<details><summary>Every site</summary><div class='scroll'><table><tr><th>site</th><th>storage</th></tr>"
        f"{every}</table></div></details></section>"
    )


def error_words(plan: Document) -> str:
    """`0.034, measured 0.031, and 0.02 by coded weights`: of a plan's gradient; nothing where it is not known."""
    expected = plan.get("predicted") or {}
    predicted, measured = expected.get("gradient_error"), plan.get("measured_gradient_error")
    words = [] if predicted is None else ["0 (exact)" if predicted == 0 else f"{predicted:.2g}"]
    words += [] if measured is None else [f"measured {measured:.2g}"]
    by_weights = expected.get("weight_error")
    return ", ".join([*words, f"and {by_weights:.2g} by coded weights"] if words and by_weights else words)


def site_rows(plan: Document) -> list[tuple[str, str]]:
    """(site, storage) of a plan document, in forward order."""
    return [(str(site["name"]), str(site["storage"])) for site in plan.get("sites") or ()]


def mebibytes(value: float) -> str:
    """A tick of a memory axis."""
    if value >= 10 * 2**30:
        return f"{value / 2**30:.0f} GiB"
    return f"{value / 2**20:,.0f} MiB" if value >= 100 * 2**20 else f"{value / 2**20:.3g} MiB"


def timeline_of(raw: Sequence[Any]) -> tuple[list[tuple[float, float]], list[Span]]:
    """Points and phases, x in percent, of a timeline of [x, bytes] or [x, bytes, phase]."""
    rows = [(float(x), float(num_bytes), phase[0] if phase else None) for x, num_bytes, *phase in raw]
    spans: list[Span] = []
    for x, _, phase in rows:
        if phase and spans and spans[-1].name == phase:
            spans[-1] = Span(phase, spans[-1].start, x)
        elif phase:
            spans.append(Span(str(phase), x, x))
    first, last = (rows[0][0], rows[-1][0]) if rows else (0.0, 1.0)
    scale = 100 / ((last - first) or 1.0)
    points = [((x - first) * scale, y) for x, y, _ in rows]
    spans = [Span(s.name, (s.start - first) * scale, (s.end - first) * scale) for s in spans]
    return thinned(points, 900), spans


def thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most about `most` points: the lowest and the highest of each stretch, so that no peak is lost."""
    if len(points) <= most:
        return list(points)
    stride = -(-len(points) // (most // 2))
    shown: list[tuple[float, float]] = []
    for start in range(0, len(points), stride):
        stretch = points[start : start + stride]
        shown += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return shown


def _opacity(storage: str) -> str:
    return {"b6": ".8", "b5": ".6", "b1": ".6", "none": ".2"}.get(storage, "1")
