"""Plots of a result file, as SVG: peak per contestant, and peak and time as one quantity grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from benchmarks.contestants import OURS
from benchmarks.results import Results
from benchmarks.tables import cases

OTHERS_COLOUR, OURS_COLOUR = "#9aa5b1", "#1f6feb"
# The same bytes for the same results: no date, no random element names.
STABLE: Any = {"svg.hashsalt": "s2a", "svg.fonttype": "none", "font.size": 9}


def peaks(results: Results, path: Path) -> None:
    """Bars of peak MB per sample, one panel per model."""
    named = cases(results)
    with plt.rc_context(STABLE):
        rows_of = {
            c: [r for r in results.rows if (r.model, r.precision) == c and r.peak_bytes_per_sample] for c in named
        }
        heights = [max(1, len(rows_of[c])) for c in named]
        figure, axes = plt.subplots(
            len(named), 1, figsize=(8, 0.22 * sum(heights) + 0.7 * len(named)), squeeze=False, height_ratios=heights
        )
        for axis, case in zip(axes[:, 0], named, strict=True):
            rows = rows_of[case]
            values = [(r.peak_bytes_per_sample or 0) / 1e6 for r in rows]
            colours = [OURS_COLOUR if r.kind == OURS else OTHERS_COLOUR for r in rows]
            axis.barh([r.contestant for r in rows], values, color=colours)
            for i, value in enumerate(values):
                axis.text(value, i, f" {value:.1f}", va="center", fontsize=8)
            axis.invert_yaxis()
            axis.set_title(f"{case[0]} {case[1]}: peak, MB per sample", loc="left", fontsize=10)
            axis.spines[["top", "right"]].set_visible(False)
        save(figure, path)


def curves(results: Results, path: Path) -> None:
    """Peak and step time against batch, image size and depth: one column per quantity."""
    quantities = list(dict.fromkeys(c.quantity for c in results.curves))
    if not quantities:
        return
    with plt.rc_context(STABLE):
        figure, axes = plt.subplots(2, len(quantities), figsize=(4 * len(quantities), 6), squeeze=False)
        for column, quantity in enumerate(quantities):
            for curve in (c for c in results.curves if c.quantity == quantity):
                colour = OURS_COLOUR if curve.contestant.startswith("s2a") else None
                axes[0, column].plot(
                    curve.values, [b / 1e6 for b in curve.peak_bytes], "o-", label=curve.contestant, color=colour
                )
                axes[1, column].plot(curve.values, curve.step_ms, "o-", label=curve.contestant, color=colour)
            axes[0, column].set_title(quantity)
            axes[1, column].set_xlabel(quantity)
            for row, label in enumerate(("peak, MB", "step, ms")):
                axes[row, column].set_ylabel(label)
                axes[row, column].set_ylim(bottom=0)
                axes[row, column].spines[["top", "right"]].set_visible(False)
        axes[0, 0].legend(fontsize=8, frameon=False)
        save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write and close."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
