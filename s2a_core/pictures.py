"""Tables and figures of matplotlib: a profile and a plan as a notebook shows them, and the curves of runs."""

from __future__ import annotations

import html
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from s2a_core.outputs.parts import parts_of
from s2a_core.sizes import format_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Document = Mapping[str, Any]
Curve = Sequence[tuple[float, float]]
MIB = 2**20
MOST_ROWS = 12  # of a table: an output that is longer hides what follows it


def profile_rows(profile: Document) -> list[tuple[str, int, int, int]]:
    """(operator, sites, bytes per sample kept exactly, bytes in the smallest form), the largest first."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for site in profile["sites"]:
        sizes = {str(option["storage"]): int(option["bytes_per_sample"]) for option in site["options"]}
        row = rows[str(site["op"])]
        row[0] += 1
        row[1] += sizes.get("exact", 0)
        row[2] += min(sizes.values(), default=0)
    return sorted(((op, *row) for op, row in rows.items()), key=lambda row: -row[2])  # type: ignore[misc]


def profile_html(profile: Document) -> str:
    """The profile as a table by operator."""
    held, weights = (format_bytes(int(profile[n])) for n in ("activation_bytes_per_sample", "params_bytes"))
    lead = (
        f"{profile['model']}, {profile['adapter'] or 'no adapter'}, {profile['image_size']} px, "
        f"{profile['precision']} on {profile['device']}: weights {weights}, activations {held} a sample, kept exactly"
    )
    rows = profile_rows(profile)
    cells = [(op, str(count), format_bytes(exact), format_bytes(least)) for op, count, exact, least in rows]
    return _table(lead, ("operator", "sites", "exact per sample", "smallest per sample"), cells)


def plan_html(plan: Document) -> str:
    """The plan as a table of the parts of its peak and of how sites are kept."""
    predicted = plan["predicted"]
    lead = (
        f"{plan['model']} with {plan['adapter']}: predicted peak {format_bytes(int(predicted['peak_bytes']))} of "
        f"{format_bytes(int(plan['budget_bytes']))}, gradient error {100 * float(predicted['gradient_error']):.2g} %, "
        f"step {float(predicted['relative_step_time']):.2f}x the time of stock PyTorch, "
        f"{plan['micro_batch']} x {plan['accumulation']} images in {plan['precision']}"
    )
    parts = [(part.words, format_bytes(size)) for part, size in parts_of(predicted["breakdown"])]
    counts = Counter(str(site["storage"]) for site in plan["sites"])
    parts += [("sites", ", ".join(f"{count} {storage}" for storage, count in counts.most_common(6)))]
    return _table(lead, ("part of the peak", "bytes"), parts)


def draw_profile(profile: Document) -> Figure:
    """Bytes per sample of each operator, kept exactly and in the smallest form."""
    rows = profile_rows(profile)[:MOST_ROWS][::-1]
    figure = _figure(8, 0.8 + 0.32 * len(rows))
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh([p + 0.2 for p in places], [row[2] / MIB for row in rows], height=0.4, label="exact")
    axes.barh([p - 0.2 for p in places], [row[3] / MIB for row in rows], height=0.4, label="smallest")
    axes.set_yticks(list(places), [f"{row[0]} ({row[1]})" for row in rows])
    axes.set_xlabel("MiB a sample")
    axes.set_title(f"{profile['model']}: what backward keeps, by operator (sites)")
    axes.legend(frameon=False)
    return figure


def draw_plan(plan: Document) -> Figure:
    """The parts of the predicted peak under the budget, and the gradient error that each budget would have."""
    figure = _figure(11, 4)
    bar, front = figure.subplots(1, 2, width_ratios=(1, 2))
    draw_parts(bar, plan)
    draw_frontier(front, plan)
    return figure


def draw_parts(axes: Any, plan: Document) -> None:
    """One bar of the parts of the predicted peak, in MiB, with the budget as a line."""
    floor = 0.0
    for part, size in parts_of(plan["predicted"]["breakdown"]):
        axes.bar(["peak"], [size / MIB], bottom=floor, label=part.words, width=0.5)
        floor += size / MIB
    axes.axhline(int(plan["budget_bytes"]) / MIB, color="crimson", label="budget")
    axes.set_ylabel("MiB")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def draw_frontier(axes: Any, plan: Document) -> None:
    """Gradient error against predicted peak, with this plan's budget as a line."""
    points = sorted((point["peak_bytes"] / MIB, 100 * point["gradient_error"]) for point in plan.get("frontier") or ())
    axes.plot([x for x, _ in points], [y for _, y in points], marker="o")
    axes.axvline(int(plan["budget_bytes"]) / MIB, color="crimson")
    axes.set_xlabel("predicted peak, MiB")
    axes.set_ylabel("gradient error, %")
    axes.set_title(str(plan["model"]))


def draw_curves(panels: Mapping[str, tuple[str, Mapping[str, Curve]]]) -> Figure:
    """Curves overlaid in a panel for each title, one legend. panels: title -> (words of its x axis, points by name)."""
    figure = _figure(5 * len(panels), 4.6)
    for axes, (title, (x_label, curves)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for name, points in curves.items():
            xs, ys = [x for x, _ in points], [y for _, y in points]
            axes.plot(xs, ys, marker="" if len(points) > 60 else ".", label=name)
        axes.set_title(title)
        axes.set_xlabel(x_label)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", frameon=False)
    return figure


def _figure(width: float, height: float) -> Figure:
    """A figure that a notebook shows as the value of its cell, and only there: pyplot does not keep it."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)
    return figure


def _table(lead: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[:MOST_ROWS]
    )
    more = f"<p>and {len(rows) - MOST_ROWS} more</p>" if len(rows) > MOST_ROWS else ""
    return f"<p>{html.escape(lead)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
