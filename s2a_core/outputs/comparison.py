"""Runs side by side: what one run is among others, which parameters differ between them, and their curves overlaid."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from s2a_core.adapters.spec import AUTO, adapter_words
from s2a_core.outputs.charts import Line, Point
from s2a_core.outputs.document import html_document
from s2a_core.outputs.quality_sections import curve_chart, smoothed
from s2a_core.requests import DEFAULTS, FIELDS
from s2a_core.sizes import format_bytes
from s2a_core.tasks import TASKS, metrics_of

Document = Mapping[str, Any]
COLOURS = ("c1", "c2", "c3", "c4", "c5", "c7", "c8", "c6")
MOST_OVERLAID = len(COLOURS)  # curves that can still be told apart
PLANNED = ("micro_batch", "mean_bits", "frozen_weights", "trainable_params")  # of the report, beside the request's
# What the plan or the model settles where nobody said it: until then it is not known, which is no difference.
SETTLED = (
    "num_classes", "weights", "adapter", "batch_size", "image_size", "precision", "weight_format", "optimizer",
    "device", "epochs", *PLANNED,
)  # fmt: skip
FINISHED, UNFINISHED = "finished", "unfinished"


@dataclass(frozen=True)
class Run:
    """One run. settings: what it was asked for and how it was planned, by field; seconds: of training; at: Unix time of
    its end; accuracy: 0 to 1, best on validation, of a task that has it; quality: the main metric of its task, in
    words; curves: by name of CURVES, points of (epoch or step, value).
    """

    name: str
    status: str
    settings: Document
    accuracy: float | None = None
    predicted_peak_bytes: int | None = None
    measured_peak_bytes: int | None = None
    budget_bytes: int | None = None
    seconds: float | None = None
    at: float | None = None
    curves: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    quality: str = ""

    @property
    def result(self) -> str:
        """Its accuracy, or the main metric of another task with its name; empty before there is one."""
        return self.quality if self.accuracy is None else f"{100 * self.accuracy:.2f} %"

    def to_json(self) -> dict[str, Any]:
        """The run without its curves."""
        return {key: value for key, value in vars(self).items() if key != "curves"} | {"settings": dict(self.settings)}


@dataclass(frozen=True)
class Curve:
    """A chart of the comparison. key: of the history's rows, empty for the losses of steps."""

    name: str
    key: str
    x_label: str
    is_share: bool = False


CURVES = (
    *(
        Curve(f"Validation {metric.words}", f"val_{metric.name}", "epoch", metric.is_share)
        for task in TASKS.values()
        for metric in task.metrics
    ),
    Curve("Validation loss", "val_loss", "epoch"),
    Curve("Training loss", "", "step"),
)
# What lists can be ordered by: the best, the smallest, the quickest or the newest first.
ORDERS: dict[str, Callable[[Run], Any]] = {
    "date": lambda run: -(run.at or 0.0),
    "accuracy": lambda run: -(run.accuracy or 0.0),
    "peak": lambda run: run.measured_peak_bytes or run.predicted_peak_bytes or 2**63,
    "budget": lambda run: run.budget_bytes or 2**63,
    "seconds": lambda run: run.seconds or float("inf"),
    "name": lambda run: run.name,
    "model": lambda run: str(run.settings.get("model")),
}


def run_of(name: str, status: str, request: Document, report: Document) -> Run:
    """A run from its request and its report, which may be empty. What the report says of a field wins."""
    asked = {**request, **(report.get("request") or {})}
    known = {key: report[key] for key in (*FIELDS, *PLANNED) if report.get(key) is not None}
    settings = {**{key: value for key, value in asked.items() if key in FIELDS}, **known}
    settings["adapter"] = adapter_words(report.get("adapter")) or asked.get("adapter")
    budget, made = report.get("budget_bytes") or request.get("budget_bytes"), report.get("created_at")
    return Run(
        name,
        status,
        {key: settings[key] for key in (*FIELDS, *PLANNED) if settings.get(key) is not None},
        report.get("accuracy"),
        report.get("predicted_peak_bytes"),
        report.get("measured_peak_bytes"),
        int(budget) if isinstance(budget, int) and budget else None,
        report.get("wall_s"),
        datetime.fromisoformat(str(made)).timestamp() if made else None,
        curves_of(report.get("history") or (), report.get("step_losses") or ()),
        "".join(f"{metric.words} {metric.text(value, 2)}" for metric, value in metrics_of(report)[:1]),
    )


def curves_of(history: Sequence[Document], step_losses: Sequence[float] = ()) -> dict[str, list[Point]]:
    """Points by name of CURVES, of rows of epochs and of the losses of steps."""
    steps = smoothed([(float(i + 1), float(loss)) for i, loss in enumerate(step_losses)])
    points = {
        curve.name: [
            (float(row.get("epoch", i)), float(row[curve.key]))
            for i, row in enumerate(history, 1)
            if row.get(curve.key) is not None
        ]
        if curve.key
        else steps
        for curve in CURVES
    }
    return {name: line for name, line in points.items() if line}


def matches(run: Run, words: str) -> bool:
    """Whether every word occurs in the run's name, status, or settings, which read `lr=0.001`."""
    said = [run.name, run.status, *(f"{key}={value}" for key, value in run.settings.items())]
    text = " ".join(said).lower()
    return all(word in text for word in words.lower().split())


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Parameters that are not the same in all runs: name -> the value of each run, None where it is not known.

    Where nothing was said of a field of the request, its default holds.
    """
    rows = {}
    for name in (*FIELDS, *PLANNED):
        if name in SETTLED:
            values = [None if (value := run.settings.get(name)) == AUTO else value for run in runs]
        else:
            values = [run.settings.get(name, DEFAULTS.get(name)) for run in runs]
        if len({str(value) for value in values if value is not None or name not in SETTLED}) > 1:
            rows[FIELDS[name].spoken or name if name in FIELDS else name] = values
    return rows


def setting_words(name: str, value: Any) -> str:
    """A parameter's value as people read it."""
    if value is None:
        return "–"
    if name == "budget":
        return format_bytes(int(value))
    return f"{value:,}" if name == "trainable_params" else f"{value:.4g}" if isinstance(value, float) else str(value)


def overlaid(runs: Sequence[Run], curve: Curve, height: int = 270) -> str:
    """One curve of every run on one chart, with a legend of their names. Colours are by the order of the runs."""
    lines = [
        Line(run.name, run.curves[curve.name], css)
        for run, css in zip(runs, COLOURS, strict=False)
        if curve.name in run.curves
    ]
    title = f"{curve.name} of {len(lines)} runs by {curve.x_label}"
    return curve_chart(lines, curve.x_label, title, curve.is_share, height)


def drawn_curves(runs: Sequence[Run]) -> list[Curve]:
    """The curves that a run has; those of classification where none has any."""
    return [curve for curve in CURVES if any(curve.name in run.curves for run in runs)] or [CURVES[0], *CURVES[-2:]]


def comparison_page(runs: Sequence[Run]) -> str:
    """A page that opens offline: a table of runs, their curves, and the parameters that differ."""
    shown = runs[:MOST_OVERLAID]
    few = f" Drawn: the first {MOST_OVERLAID} of {len(runs)}." if len(runs) > MOST_OVERLAID else ""
    charts = "".join(f"<div><h3>{curve.name}</h3>{overlaid(shown, curve)}</div>" for curve in drawn_curves(shown))
    body = (
        f"<section><h2>Runs</h2>{_table(*_run_rows(runs))}</section>"
        f"<section><h2>Curves</h2><p class='sub'>Training losses are running means.{few}</p>"
        f'<div class="two">{charts}</div></section>{_differences(runs)}'
    )
    return html_document("s2a runs", f"{len(runs)} runs side by side", body)


def _run_rows(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    columns = ["run", "model", "trains", "accuracy", "predicted", "measured", "budget", "seconds"]
    rows = [
        [
            run.name,
            str(run.settings.get("model", "")),
            str(run.settings.get("adapter", "")),
            run.result,
            *(
                "" if size is None else format_bytes(size)
                for size in (run.predicted_peak_bytes, run.measured_peak_bytes)
            ),
            "" if run.budget_bytes is None else format_bytes(run.budget_bytes),
            "" if run.seconds is None else f"{run.seconds:,.0f}",
        ]
        for run in runs
    ]
    return columns, rows


def _differences(runs: Sequence[Run]) -> str:
    rows = differing(runs)
    if not rows:
        return (
            "<section><h2>Parameters that differ</h2><p class='sub'>None: these runs repeat each other.</p></section>"
        )
    body = [[name, *(setting_words(name, value) for value in values)] for name, values in rows.items()]
    return f"<section><h2>Parameters that differ</h2>{_table(['', *(run.name for run in runs)], body)}</section>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
