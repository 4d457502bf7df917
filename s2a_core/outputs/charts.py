"""Line and area charts as inline SVG: no script, no network, colours from the page's style sheet.

Each chart is drawn twice, for wide and for narrow screens, and the style sheet shows the one that fits, so that
letters keep their size on a phone.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Point = tuple[float, float]
Format = Callable[[float], str]
LABEL = 18  # pixels that the words of a level take


@dataclass(frozen=True)
class Line:
    """One curve. css: class that gives its colour (`c1`..`c6`); is_area: filled down to the axis."""

    name: str
    points: Sequence[Point]
    css: str = "c1"
    is_area: bool = False
    is_dashed: bool = False


@dataclass(frozen=True)
class Level:
    """A horizontal line with a word on it, such as the budget."""

    name: str
    value: float
    css: str = "budget"


@dataclass(frozen=True)
class Span:
    """A stretch of the x axis with a word above it, such as `forward`."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Frame:
    """The drawing area. Pixels: outer size and margins; data: the ranges that fill it."""

    width: int
    height: int
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: int = 64
    right: int = 16
    top: int = 26
    bottom: int = 40

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / ((high - low) or 1) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.height - self.bottom - (value - low) / ((high - low) or 1) * (self.height - self.top - self.bottom)


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str = "",
    levels: Sequence[Level] = (),
    spans: Sequence[Span] = (),
    y_format: Format = lambda value: f"{value:g}",
    x_format: Format = lambda value: f"{value:g}",
    y_from_zero: bool = True,
    height: int = 280,
) -> str:
    """A chart of curves over one axis, for both widths. title: what a screen reader says."""
    ranges = _ranges(lines, levels, y_from_zero)
    if ranges is None:
        return '<p class="empty">Nothing was recorded.</p>'
    drawn = []
    for css, width in (("wide", 880), ("narrow", 400)):
        frame = Frame(width, height, *ranges, left=64 if css == "wide" else 54)
        body = [
            *_spans(spans, frame),
            *_y_axis(frame, y_format),
            *_x_axis(frame, x_format, x_label, 8 if css == "wide" else 4),
            *(part for line in lines for part in _line(line, frame, x_format, y_format)),
            *(part for level in levels for part in _level(level, levels, frame, y_format)),
        ]
        drawn.append(
            f'<svg class="chart {css}" viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(title)}">'
            f"{''.join(body)}</svg>"
        )
    return "".join(drawn) + legend([(line.name, line.css) for line in lines if line.name])


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Names with their colours; nothing for a single one."""
    if len(entries) < 2:
        return ""
    keys = "".join(f'<span class="key"><i class="{css}"></i>{html.escape(name)}</span>' for name, css in entries)
    return f'<div class="legend">{keys}</div>'


def ticks(low: float, high: float, count: int, base: float = 10.0) -> list[float]:
    """About `count` round values from low to high: steps of 1, 2 or 5 times a power of the base (10, or 2 for bytes)."""
    span = (high - low) or 1.0
    raw = span / max(1, count)
    power = base ** math.floor(math.log(raw, base))
    factors = (1, 2, 2.5, 5, 10) if base == 10 else (1, 2)
    step = next((power * f for f in factors if power * f >= raw * 0.999), power * base)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _ranges(
    lines: Sequence[Line], levels: Sequence[Level], from_zero: bool
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points if math.isfinite(y)] + [level.value for level in levels]
    if not xs or not ys:
        return None
    low, high = min(ys), max(ys)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * 0.08 or 1.0
    return (min(xs), max(xs)), (low - room if low < 0 or not from_zero else low, high + room)


def _line(line: Line, frame: Frame, x_format: Format, y_format: Format) -> list[str]:
    points = [(frame.x(x), frame.y(y)) for x, y in line.points if math.isfinite(y)]
    if not points:
        return []
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = []
    if line.is_area:
        floor = frame.y(frame.y_range[0])
        parts.append(
            f'<path class="area {line.css}" d="{path}L{points[-1][0]:.1f},{floor:.1f}L{points[0][0]:.1f},{floor:.1f}Z"/>'
        )
    parts.append(f'<path class="line {line.css}{" dashed" if line.is_dashed else ""}" d="{path}"/>')
    if len(points) <= 60:
        for (x, y), (raw_x, raw_y) in zip(points, line.points, strict=False):
            words = html.escape(f"{line.name} {y_format(raw_y)} at {x_format(raw_x)}")
            parts.append(
                f'<circle class="dot {line.css}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"><title>{words}</title></circle>'
            )
    return parts


def _level(level: Level, levels: Sequence[Level], frame: Frame, y_format: Format) -> list[str]:
    """The line with its words above it, or below where another level is so close above that they would touch."""
    y = frame.y(level.value)
    is_under = any(0 < y - frame.y(other.value) < LABEL for other in levels)
    words = html.escape(f"{level.name} {y_format(level.value)}")
    return [
        f'<line class="level {level.css}" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<text class="leveltext {level.css}" x="{frame.width - frame.right - 4}" y="{y + (15 if is_under else -6):.1f}">{words}</text>',
    ]


def _spans(spans: Sequence[Span], frame: Frame) -> list[str]:
    parts = []
    for number, span in enumerate(spans):
        x0, x1 = frame.x(span.start), frame.x(span.end)
        parts.append(
            f'<rect class="span s{number % 2}" x="{x0:.1f}" y="{frame.top}" width="{max(0, x1 - x0):.1f}" '
            f'height="{frame.height - frame.top - frame.bottom}"/>'
        )
        if x1 - x0 > 7 * len(span.name):
            parts.append(
                f'<text class="spantext" x="{(x0 + x1) / 2:.1f}" y="{frame.top - 9}">{html.escape(span.name)}</text>'
            )
    return parts


def _y_axis(frame: Frame, y_format: Format) -> list[str]:
    low, high = frame.y_range
    base = 2.0 if "iB" in y_format(high) else 10.0
    parts = []
    for value in ticks(low, high, 5, base):
        y = frame.y(value)
        parts.append(
            f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text class="tick y" x="{frame.left - 8}" y="{y + 4:.1f}">{html.escape(y_format(value))}</text>')
    return parts


def _x_axis(frame: Frame, x_format: Format, label: str, count: int) -> list[str]:
    bottom = frame.height - frame.bottom
    parts = [f'<line class="axis" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{bottom}" y2="{bottom}"/>']
    shown: set[str] = set()
    for value in ticks(*frame.x_range, count):
        words = x_format(value)
        if words and words not in shown:
            shown.add(words)
            parts.append(f'<text class="tick x" x="{frame.x(value):.1f}" y="{bottom + 17}">{html.escape(words)}</text>')
    if label:
        parts.append(
            f'<text class="tick x label" x="{(frame.left + frame.width - frame.right) / 2:.1f}" '
            f'y="{frame.height - 5}">{html.escape(label)}</text>'
        )
    return parts
