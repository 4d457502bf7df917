"""Rich tables and bars of what the service answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from app.cli import waits
from s2a_core.amounts import exact_amount
from s2a_core.sizes import format_bytes, gib_hours
from s2a_core.tasks import metrics_of

if TYPE_CHECKING:
    from s2a_core.outputs.comparison import Run

Document = Mapping[str, Any]
STYLES = {
    "running": "cyan",
    "succeeded": "good",
    "ready": "good",
    "failed": "bad",
    "infeasible": "bad",
    "refused": "bad",
    "quarantined": "bad",
    "paused": "warn",
    "pausing": "warn",
    "cancelling": "warn",
}
COLOURS = ("blue", "green", "magenta", "cyan", "yellow", "red")
RUN_COLUMNS = ("run", "model", "trains", "epochs", "accuracy", "predicted", "measured", "budget", "time", "ended")
WIDE, WIDE_ONLY = 110, ("trains", "epochs", "predicted")
BAR_WIDTH = 48
PLAIN = ("running", "succeeded")  # what these jobs do is said by their phases and numbers


def table(*columns: str, right: Sequence[str] = (), gap: int = 3) -> Table:
    """An empty table in the house's style. gap: spaces between columns."""
    return _headed(Table(box=None, pad_edge=False, header_style="quiet", padding=(0, gap, 0, 0)), columns, right)


def boxed(*columns: str, right: Sequence[str] = (), title: str | None = None) -> Table:
    """An empty table with a line below its head."""
    rows = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), title=title, title_justify="left", title_style="bold")
    return _headed(rows, columns, right)


def _headed(rows: Table, columns: Sequence[str], right: Sequence[str]) -> Table:
    for column in columns:
        rows.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return rows


def status(word: str) -> str:
    """A status in its colour."""
    style = STYLES.get(word)
    return f"[{style}]{word}[/]" if style else word


def age(at: float | None, now: float | None = None) -> str:
    """How long ago a Unix time is, in its largest unit."""
    if at is None:
        return ""
    left = max(0.0, (time.time() if now is None else now) - at)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if left >= unit:
            return f"{left / unit:.0f} {name}"
    return f"{left:.0f} s"


def jobs(items: Iterable[Document]) -> Table:
    """Jobs, one a line."""
    rows = table("job", "status", "model", "data", "peak", "budget", "quality", "age", right=("peak", "budget", "age"))
    for job in items:
        report = job.get("report") or {}
        peak, metrics = report.get("measured_peak_bytes"), metrics_of(report)
        rows.add_row(
            f"[name]{job['id']}[/]",
            status(job["status"]),
            escape(str(job["request"].get("model"))),
            escape(str(job["request"].get("data"))),
            format_bytes(peak) if peak else "",
            format_bytes(job["budget_bytes"]),
            "".join(f"{metric.words} {metric.text(value)}" for metric, value in metrics[:1]),
            age(job["created_at"]),
        )
    return rows


def reasons(items: Iterable[Document]) -> list[str]:
    """A line for each job that waits or failed."""
    lines = []
    for job in items:
        if job["status"] in ("queued", "failed") and job.get("reason"):
            place = f"number {job['position']} in the queue, " if job.get("position") else ""
            lines.append(f"[name]{job['id']}[/]  {place}{escape(str(job['reason']['message']))}")
    return lines


def job(document: Document) -> RenderableType:
    """One job with its reason, phases, memory and what to do next."""
    request, report = document["request"], document.get("report") or {}
    epochs = request.get("epochs")
    for_how_long = f"{epochs} epoch{'s' if epochs != 1 else ''}" if epochs else "as many epochs as the data asks for"
    lines: list[RenderableType] = [
        f"[name]{document['id']}[/] {status(document['status'])}  {escape(str(document.get('name') or ''))}".rstrip(),
        f"  {escape(str(request.get('model')))} on {escape(str(request.get('data')))}, "
        f"{escape(str(request.get('adapter', 'auto')))}, {for_how_long}",
    ]
    if document.get("reason") and document["status"] not in PLAIN:
        lines.append(f"  {escape(str(document['reason']['message']))}")
    lines += waits.lines(document)
    phases = [phase["name"] for phase in document.get("phases") or []]
    if phases:
        lines.append(f"  phases     {' > '.join(phases)}")
    budget = document["budget_bytes"]
    predicted = report.get("predicted_peak_bytes") or document.get("planned_peak_bytes")
    measured = report.get("measured_peak_bytes")
    lines.append(f"  budget     {format_bytes(budget)}")
    if predicted:
        lines.append(f"  predicted  {format_bytes(predicted)}")
    if measured:
        difference = f" ({100 * (measured - predicted) / predicted:+.1f} %)" if predicted else ""
        lines.append(f"  measured   {format_bytes(measured)}{difference}")
        lines.append(Text("  ") + bar([("measured", measured)], budget))
    lines += [f"  {metric.words:<9}  {metric.text(value)}" for metric, value in metrics_of(report)]
    if document["status"] == "succeeded":
        lines.append(f"  next: s2a download {document['id']}, then s2a predict {document['id']} IMAGE...")
    return Group(*lines)


def runs(items: Sequence[Run], width: int) -> Table:
    """Runs of this machine, one a line. width: of the terminal; below WIDE the columns of WIDE_ONLY are left out."""
    names = [name for name in RUN_COLUMNS if width >= WIDE or name not in WIDE_ONLY]
    rows = table(*names, right=RUN_COLUMNS[3:-1], gap=2)
    for column in rows.columns:
        column.no_wrap = column.header not in RUN_COLUMNS[:3]
    for run in items:
        ended = f"{datetime.fromtimestamp(run.at):%Y-%m-%d}" if run.at else f"[warn]{run.status}[/]"
        is_over = (run.measured_peak_bytes or 0) > (run.budget_bytes or 2**63)
        measured = _size(run.measured_peak_bytes)
        cells = (
            f"[name]{escape(run.name)}[/]",
            escape(str(run.settings.get("model", ""))),
            escape(str(run.settings.get("adapter", ""))),
            str(run.settings.get("epochs", "")),
            run.result,
            _size(run.predicted_peak_bytes),
            f"[bad]{measured}[/]" if is_over else measured,
            _size(run.budget_bytes),
            "" if run.seconds is None else f"{run.seconds:,.0f} s",
            ended,
        )
        rows.add_row(*(cell for name, cell in zip(RUN_COLUMNS, cells, strict=True) if name in names))
    return rows


def differences(items: Sequence[Run]) -> Table | None:
    """The parameters that differ between runs and that their own table does not show; None where there are none."""
    from s2a_core.outputs.comparison import differing, setting_words

    shown = ("model", "adapter", "epochs", "budget")
    values = {name: each for name, each in differing(items).items() if name not in shown}
    if not values:
        return None
    rows = table("what else differs", *values, gap=2)
    for number, run in enumerate(items):
        words = [setting_words(name, each[number]) for name, each in values.items()]
        rows.add_row(f"[name]{escape(run.name)}[/]", *map(escape, words))
    return rows


def _size(num_bytes: int | None) -> str:
    return "" if num_bytes is None else format_bytes(num_bytes)


def bar(pieces: Sequence[tuple[str, int]], total: int, width: int = BAR_WIDTH) -> Text:
    """Pieces of `total` bytes as blocks of colour."""
    drawn, used, at = Text(), 0, 0
    total = max(total, sum(size for _, size in pieces), 1)
    for number, (_, size) in enumerate(pieces):
        used += size
        end = round(width * used / total)
        drawn.append("█" * max(0, end - at), style=COLOURS[number % len(COLOURS)])
        at = max(at, end)
    drawn.append("░" * (width - at), style="dim")
    return drawn


def devices(items: Iterable[Document]) -> RenderableType:
    """Each device's memory as a bar with its jobs below."""
    parts: list[RenderableType] = []
    for device in items:
        state = "" if device["state"] == "ready" else f"  {status(device['state'])}"
        free, capacity = format_bytes(device["free_bytes"]), format_bytes(device["capacity_bytes"])
        place = escape(f"{device['kind']} on {device['worker']}")
        parts.append(f"[name]{escape(device['name'])}[/]  {place}: {free} free of {capacity}{state}")
        machine = ("reserve and driver", device["reserve_bytes"] + device["baseline_bytes"])
        others = ("other processes", device["used_by_others_bytes"])
        pieces = [piece for piece in (machine, others) if piece[1]]
        pieces += [(str(j["job_id"] or "another team"), j["reserved_bytes"]) for j in device["jobs"]]
        parts.append(bar(pieces, device["capacity_bytes"]))
        for number, (name, size) in enumerate(pieces):
            parts.append(Text("  ■ ", style=COLOURS[number % len(COLOURS)]) + Text(f"{name}  {format_bytes(size)}"))
        if device.get("reason"):
            parts.append(f"  {escape(str(device['reason']['message']))}")
    return Group(*parts) if parts else "no device has reported"


def plans(items: Iterable[Document]) -> Table:
    """Plans, one a line."""
    rows = table("plan", "status", "model", "budget", "predicted", "gradient error", "age", right=("budget", "age"))
    for plan in items:
        predicted = (plan.get("plan") or {}).get("predicted") or {}
        rows.add_row(
            f"[name]{plan['id']}[/]",
            status(plan["status"]),
            escape(str(plan["request"].get("model"))),
            format_bytes(plan["budget_bytes"]),
            format_bytes(predicted["peak_bytes"]) if predicted else "",
            f"{predicted['gradient_error']:.3g}" if predicted else "",
            age(plan["created_at"]),
        )
    return rows


def plan(document: Document) -> RenderableType:
    """One plan: what it promises or why nothing fits, and the alternatives."""
    lines: list[RenderableType] = [plans([document])]
    if document.get("reason"):
        lines.append(f"  {escape(str(document['reason']['message']))}")
    made = document.get("plan")
    if made:
        predicted = made["predicted"]
        lines.append(Text("  ") + bar(list(predicted["breakdown"].items()), document["budget_bytes"]))
        lines.append(f"  {made['adapter']}, {made['micro_batch']} x {made['accumulation']} images, {made['precision']}")
    if document["alternatives"]:
        rows = table("  alternative", "peak", "what it trades", right=("peak",))
        for other in document["alternatives"]:
            rows.add_row(f"  {escape(other['name'])}", format_bytes(other["peak_bytes"]), escape(other["summary"]))
        lines.append(rows)
    return Group(*lines)


def datasets(items: Iterable[Document]) -> Table:
    """Datasets and uploaded weights, one a line, with why one was refused."""
    rows = table(
        "dataset", "status", "name", "task", "outputs", "images", "age", "", right=("outputs", "images", "age")
    )
    for dataset in items:
        summary = dataset.get("summary") or {}
        images = summary.get("num_train", 0) + summary.get("num_val", 0)
        reason = dataset.get("reason") or {}
        what = f"weights, {summary['num_parameters'] / 1e6:.1f} M" if "num_parameters" in summary else ""
        rows.add_row(
            f"[name]{dataset['id']}[/]",
            status(dataset["status"]),
            escape(dataset["name"]),
            what or str(summary.get("task", "")),
            str(summary.get("num_classes", "")),
            f"{images:,}" if images else "",
            age(dataset["created_at"]),
            escape(str(reason.get("message", ""))),
        )
    return rows


def keys(items: Iterable[Document]) -> Table:
    """Keys, one a line."""
    rows = table("key", "team", "name", "scopes", "last used", "ends")
    for key in items:
        used = f"{age(key['last_used_at'])} ago" if key["last_used_at"] else "never"
        rows.add_row(
            f"[name]{key['id']}[/]", escape(key["team"]), escape(key["name"]), ", ".join(key["scopes"]), used, ends(key)
        )
    return rows


def ends(key: Document) -> str:
    """When a key stops working."""
    if key["revoked_at"]:
        return "[bad]revoked[/]"
    if key["expires_at"] is None:
        return "never"
    day = f"{datetime.fromtimestamp(key['expires_at']):%Y-%m-%d %H:%M}"
    return f"[bad]expired {day}[/]" if key["expires_at"] <= time.time() else day


def teams(items: Iterable[Document]) -> Table:
    """Teams, one a line: what each uses, of its quota where it has one."""
    rows = table("team", "weight", "running", "waiting", "memory", "GiB-hours today", right=("weight", "waiting"))
    for team in items:
        usage, hours = team["usage"], team["quota_byte_seconds_per_day"]
        rows.add_row(
            f"[name]{escape(team['name'])}[/]",
            f"{team['weight']:g}",
            _of(str(usage["running_jobs"]), team["quota_jobs"], str),
            str(usage["waiting_jobs"]),
            _of(format_bytes(usage["held_bytes"]), team["quota_bytes"], exact_amount),
            _of(gib_hours(usage["byte_seconds_today"]), hours, gib_hours),
        )
    return rows


def _of(used: str, quota: int | None, words: Callable[[int], str]) -> str:
    return used if quota is None else f"{used} of {words(quota)}"
