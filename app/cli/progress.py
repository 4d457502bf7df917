"""Following a run: live bars on a terminal, one line per event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.terminal import Terminal
from s2a_core.sizes import format_bytes

Event = Mapping[str, Any]
WIDE = 110  # columns from which every measure has room beside a long bar


class Follower(Protocol):
    """What takes the events of a run; a context manager that leaves the screen tidy."""

    def __call__(self, event: Any) -> None: ...
    def __enter__(self) -> Follower: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def follower(terminal: Terminal, budget_bytes: int | None) -> Follower:
    """Bars where stderr is a terminal, lines elsewhere. Both write to stderr."""
    return Bars(terminal, budget_bytes) if terminal.err.is_terminal else Lines(terminal, budget_bytes)


def as_event(event: Any) -> dict[str, Any]:
    """An event as a mapping with its `type`, from a mapping or a dataclass."""
    if isinstance(event, Mapping):
        return dict(event)
    fields = {name: getattr(event, name) for name in getattr(event, "__dataclass_fields__", {})}
    return {"type": getattr(event, "type", type(event).__name__.lower()), **fields}


def describe(event: Event, budget_bytes: int | None) -> str:
    """One line for an event, or an empty one for what nobody needs to read."""
    kind = event.get("type")
    if kind == "phase":
        return f"{event.get('name') or event.get('phase')} {event.get('message') or event.get('detail') or ''}".strip()
    if kind in ("log", "warning", "note"):
        return str(event.get("message", ""))
    if kind == "progress":
        return _progress(event)
    if kind == "step":
        return " ".join(
            word
            for word in (
                f"step {_place(event, 'step', ('steps', 'num_steps', 'total_steps'))}",
                _measures(event, budget_bytes),
            )
            if word
        )
    if kind == "epoch":
        return " ".join(
            word
            for word in (f"epoch {_place(event, 'epoch', ('epochs', 'num_epochs'))}", _measures(event, budget_bytes))
            if word
        )
    if kind == "plan" and isinstance(event.get("plan"), Mapping):
        return _plan(event["plan"])
    return ""


def _progress(event: Event) -> str:
    """`profiling: 14 of 60, about 40 s left`."""
    words = f"{event.get('phase')}: {event.get('unit', 'site')} {event.get('done')} of {event.get('total')}"
    left = event.get("eta_s")
    return words + (f", about {_duration(float(left))} left" if left else "")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _plan(plan: Event) -> str:
    """What a plan promises, in a line."""
    peak = (plan.get("predicted") or {}).get("peak_bytes")
    words = [str(plan.get("adapter", "")), f"{plan.get('micro_batch')} x {plan.get('accumulation')} images"]
    return f"plan {', '.join(words)}" + (f", {format_bytes(int(peak))} predicted" if peak else "")


class Lines:
    """Plain lines: every phase, epoch and remark; steps at most every five seconds."""

    def __init__(self, terminal: Terminal, budget_bytes: int | None, every_s: float = 5.0) -> None:
        self._terminal, self._budget_bytes, self._every_s = terminal, budget_bytes, every_s
        self._last = float("-inf")

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: Any) -> None:
        document = as_event(event)
        if document.get("type") in ("step", "progress"):
            if time.monotonic() - self._last < self._every_s:
                return
            self._last = time.monotonic()
        if line := describe(document, self._budget_bytes):
            self._terminal.note(escape(line))


class Bars:
    """A bar for the steps of the run with loss, rate, memory and the time left; other events scroll above it."""

    def __init__(self, terminal: Terminal, budget_bytes: int | None) -> None:
        self._budget_bytes = budget_bytes
        self._is_wide = terminal.err.width >= WIDE
        self._progress = Progress(
            TextColumn("[name]{task.description}"),
            BarColumn(bar_width=32 if self._is_wide else 12),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[measures]}"),
            console=terminal.err,
            transient=False,
        )
        self._task = self._progress.add_task("starting", total=1, measures="", visible=False)

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Any) -> None:
        document = as_event(event)
        if document.get("type") == "step":
            total = next((document[k] for k in ("total_steps", "num_steps", "steps") if document.get(k)), None)
            self._progress.update(
                self._task,
                description=f"epoch {_place(document, 'epoch', ('epochs', 'num_epochs'))}",
                completed=float(document.get("global_step") or document.get("step") or 0),
                total=float(total) if total else None,
                measures=_measures(document, self._budget_bytes) if self._is_wide else _few_measures(document),
                visible=True,
            )
        elif document.get("type") == "progress":
            done, total = float(document.get("done") or 0), float(document.get("total") or 1)
            is_over = done >= total
            self._progress.update(
                self._task, description=str(document.get("phase")), completed=done, total=total, visible=not is_over
            )
        elif line := describe(document, self._budget_bytes):
            self._progress.console.print(escape(line))


def _place(event: Event, key: str, totals: tuple[str, ...]) -> str:
    total = next((event[k] for k in totals if event.get(k)), None)
    return f"{event.get(key, '')}/{total}" if total else str(event.get(key, ""))


def _few_measures(event: Event) -> str:
    """Loss, accuracy and memory for a narrow terminal."""
    words = [f"loss {float(event['loss']):.3f}"] if event.get("loss") is not None else []
    words += [f"{100 * float(event['accuracy']):.0f} %"] if event.get("accuracy") is not None else []
    words += [format_bytes(int(event["peak_bytes"]))] if event.get("peak_bytes") else []
    return ", ".join(words)


def _measures(event: Event, budget_bytes: int | None) -> str:
    """Loss, accuracy, images per second and memory against the budget, of what the event carries."""
    words = []
    for key, name in (("loss", "loss"), ("train_loss", "loss"), ("val_loss", "validation loss")):
        if event.get(key) is not None:
            words.append(f"{name} {float(event[key]):.4f}")
    for key, name in (
        ("accuracy", "accuracy"),
        ("train_accuracy", "accuracy"),
        ("val_accuracy", "validation accuracy"),
    ):
        if event.get(key) is not None:
            words.append(f"{name} {100 * float(event[key]):.1f} %")
    if event.get("images_per_s"):
        words.append(f"{float(event['images_per_s']):,.0f} img/s")
    memory = next((event[k] for k in ("peak_bytes", "measured_peak_bytes", "memory_bytes") if event.get(k)), None)
    if memory:
        words.append(format_bytes(int(memory)) + (f" of {format_bytes(budget_bytes)}" if budget_bytes else ""))
    return ", ".join(words)
