"""Following a run: live bars on a terminal, one line per event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, cast

from rich.console import RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.text import Text

from app.cli.terminal import Terminal
from s2a_core.sizes import format_bytes
from s2a_core.tasks import METRICS

Event = Mapping[str, Any]
EVERY_S = 5.0  # between plain lines of one phase
WIDE = 110  # columns from which every measure has room beside a long bar


class Follower(Protocol):
    """What takes the events of a run; a context manager that leaves the screen tidy."""

    def __call__(self, event: Event) -> None: ...
    def __enter__(self) -> Follower: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def follower(terminal: Terminal, budget_bytes: int | None) -> Follower:
    """Bars where stderr is a terminal, lines elsewhere. Both write to stderr."""
    return Bars(terminal, budget_bytes) if terminal.err.is_terminal else Lines(terminal, budget_bytes)


def describe(event: Event, budget_bytes: int | None) -> str:
    """One line for an event, or an empty one for what nobody needs to read."""
    kind = event.get("type")
    if kind == "phase":
        return str(event.get("name", ""))
    if kind in ("log", "warning", "note"):
        return str(event.get("message", ""))
    if kind == "stage":
        return f"{event.get('phase')}: {event.get('message')}"
    if kind == "progress":
        return _progress(event)
    if kind == "step":
        return f"step {event.get('step')}/{event.get('total_steps')} {_measures(event, budget_bytes)}".rstrip()
    if kind == "epoch":
        return f"epoch {event.get('epoch')}/{event.get('epochs')} {_measures(event, budget_bytes)}".rstrip()
    if kind == "plan" and isinstance(event.get("plan"), Mapping):
        return _plan(event["plan"])
    return ""


def _progress(event: Event) -> str:
    """`profiling: 14 of 60, about 40 s left`."""
    words = f"{event.get('unit', 'site')} {event.get('done')} of {event.get('total')}"
    words = f"{event['phase']}: {words}" if event.get("phase") else words
    left = event.get("eta_s")
    return words + (f", about {duration(float(left))} left" if left else "")


def duration(seconds: float) -> str:
    """`41 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _plan(plan: Event) -> str:
    """What a plan promises, in a line."""
    peak = (plan.get("predicted") or {}).get("peak_bytes")
    words = [str(plan.get("adapter", "")), f"{plan.get('micro_batch')} x {plan.get('accumulation')} images"]
    return f"plan {', '.join(words)}" + (f", {format_bytes(int(peak))} predicted" if peak else "")


class Lines:
    """Plain lines: every phase, epoch and remark; steps at most every EVERY_S seconds."""

    def __init__(self, terminal: Terminal, budget_bytes: int | None) -> None:
        self._terminal, self._budget_bytes = terminal, budget_bytes
        self._last = float("-inf")

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        if event.get("type") in ("step", "progress", "stage"):
            if time.monotonic() - self._last < EVERY_S:
                return
            self._last = time.monotonic()
        if line := describe(event, self._budget_bytes):
            self._terminal.note(escape(line))


class Bars:
    """A line that is redrawn until the run is over: what it does, how much is done, how long that may take.

    Phases that are over, epochs and remarks scroll above it. It is drawn by a thread, so that its clock goes on while
    a step or a library takes its time.
    """

    def __init__(self, terminal: Terminal, budget_bytes: int | None) -> None:
        self._console, self._budget_bytes = terminal.err, budget_bytes
        self._phase = Stopwatch("starting")
        self._stage, self._measures, self._spinner = "", "", Spinner("line", style="quiet")
        self._bar: tuple[float, float] | None = None  # (done, total)
        self._left_s: Callable[[], float | None] = lambda: None
        self._live = Live(
            get_renderable=self._line,
            console=self._console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
        )

    @property
    def _is_wide(self) -> bool:
        return self._console.width >= WIDE

    def __enter__(self) -> Bars:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self._end_phase("stopped after " if kind else "")

    def __call__(self, event: Event) -> None:
        kind = event.get("type")
        if kind == "phase":
            self._end_phase()
            self._phase = Stopwatch(str(event.get("name", "")))
            self._doing("")
        elif kind == "stage":
            self._doing(str(event.get("message", "")))
        elif kind == "progress":
            self._progress(event)
        elif kind == "step":
            self._step(event)
        elif line := describe(event, self._budget_bytes):
            self._console.print(escape(line), soft_wrap=True)

    def _end_phase(self, how: str = "") -> None:
        """The phase with its seconds, above the line; one that has not begun leaves nothing."""
        if self._phase.name != "starting":
            self._console.print(f"[quiet]{escape(self._phase.name)}: {how}{duration(self._phase.seconds)}[/]")
            self._phase = Stopwatch("starting")

    def _doing(self, stage: str) -> None:
        self._stage, self._bar, self._measures, self._left_s = stage, None, "", lambda: None

    def _progress(self, event: Event) -> None:
        unit, done, total = event.get("unit", "site"), float(event.get("done") or 0), float(event.get("total") or 1)
        self._doing(f"{unit} {done:.0f} of {total:.0f}")
        self._bar = done, total
        if (left := event.get("eta_s")) is not None:
            until = time.monotonic() + float(left)
            self._left_s = lambda: max(0.0, until - time.monotonic())

    def _step(self, event: Event) -> None:
        total, done = float(event.get("total_steps") or 0), float(event.get("step") or 0)
        if not self._phase.first_done:
            self._phase.first_done, self._phase.first_at = done, time.monotonic()
        self._doing(f"epoch {event.get('epoch')}/{event.get('epochs')}, step {done:.0f} of {total:.0f}")
        self._bar = (done, total) if total else None
        self._measures = _measures(event, self._budget_bytes) if self._is_wide else _few_measures(event)
        phase = self._phase
        if done > phase.first_done:
            pace = (time.monotonic() - phase.first_at) / (done - phase.first_done)
            until = time.monotonic() + pace * (total - done)
            self._left_s = lambda: max(0.0, until - time.monotonic())

    def _line(self) -> RenderableType:
        """The line, cut where the terminal ends."""
        words = Text(no_wrap=True, overflow="ellipsis")
        words.append_text(cast(Text, self._spinner.render(time.monotonic())))
        words.append(f" {self._phase.name}", "name")
        if self._bar is not None:
            done, total = self._bar
            cells = 24 if self._is_wide else 10
            full = min(cells, int(cells * done / max(total, 1)))
            words.append(" " + "━" * full, "good")
            words.append("━" * (cells - full), "quiet")
        if self._stage:
            words.append(f" {self._stage}")
        if self._measures:
            words.append(f", {self._measures}")
        left = self._left_s()
        clock = f"about {duration(left)} left" if left else duration(self._phase.seconds)
        words.append(f" {clock}", "quiet")
        return words


class Stopwatch:
    """A phase and when it began; for a bar the first count of steps that was seen, and when."""

    def __init__(self, name: str) -> None:
        self.name, self._began = name, time.monotonic()
        self.first_done, self.first_at = 0.0, self._began

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began


def _few_measures(event: Event) -> str:
    """Loss, the task's figure and memory for a narrow terminal."""
    words = [f"loss {float(event['loss']):.3f}"] if event.get("loss") is not None else []
    words += [metric.text(float(event[name]), 0) for name, metric in METRICS.items() if event.get(name) is not None]
    words += [format_bytes(int(event["peak_bytes"]))] if event.get("peak_bytes") else []
    return ", ".join(words)


def _measures(event: Event, budget_bytes: int | None) -> str:
    """Loss, the task's metrics, images per second and memory against the budget, of what the event carries."""
    words = []
    for key, name in (("loss", "loss"), ("train_loss", "loss"), ("val_loss", "validation loss")):
        if event.get(key) is not None:
            words.append(f"{name} {float(event[key]):.4f}")
    for metric in METRICS.values():
        for prefix, split in (("", ""), ("train_", ""), ("val_", "validation ")):
            if (value := event.get(prefix + metric.name)) is not None:
                words.append(f"{split}{metric.words} {metric.text(float(value))}")
    if event.get("images_per_s"):
        words.append(f"{float(event['images_per_s']):,.0f} img/s")
    if memory := event.get("peak_bytes"):
        words.append(format_bytes(int(memory)) + (f" of {format_bytes(budget_bytes)}" if budget_bytes else ""))
    return ", ".join(words)
