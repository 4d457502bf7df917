"""The parts of a peak and the other ways of training, in the words and colours of report, pages and terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PeakPart:
    """One entry of a plan's breakdown. css: colour class of the style sheets; style: colour in a terminal."""

    name: str
    words: str
    css: str
    style: str


# In the order they are drawn.
PARTS = (
    PeakPart("context", "device context", "c6", "white"),
    PeakPart("workspaces", "workspaces of libraries", "c8", "bright_yellow"),
    PeakPart("code", "kernels' code", "c5", "bright_red"),
    PeakPart("weights", "weights", "c1", "blue"),
    PeakPart("buffers", "buffers", "c8", "bright_blue"),
    PeakPart("gradients", "gradients", "c4", "magenta"),
    PeakPart("optimizer", "optimizer", "c5", "bright_magenta"),
    PeakPart("average", "average of the weights", "c8", "bright_cyan"),
    PeakPart("best_state", "best weights so far", "c6", "bright_green"),
    PeakPart("input", "input", "c7", "cyan"),
    PeakPart("held", "held for backward", "c3", "green"),
    PeakPart("working", "working memory", "c2", "yellow"),
    PeakPart("slack", "what the allocator reserves besides", "c7", "bright_white"),
    PeakPart("margin", "safety margin", "c6", "bright_black"),
)


def method_words(name: str) -> str:
    """Another way of training, as people say it."""
    return {"full": "full fine-tuning", "lora": "LoRA", "bias": "biases, stock PyTorch"}.get(name, name)


def part_of(name: str) -> PeakPart:
    """The part of that name; one that no table knows is called by its name."""
    return next((part for part in PARTS if part.name == name), PeakPart(name, name, "c8", "white"))


def parts_of(breakdown: Mapping[str, Any]) -> list[tuple[PeakPart, int]]:
    """(part, bytes) of a predicted peak in the order they are drawn, unknown ones last; without empty ones."""
    order = [part.name for part in PARTS]
    names = sorted(breakdown, key=lambda name: order.index(name) if name in order else len(order))
    return [(part_of(name), int(breakdown[name])) for name in names if breakdown[name] and int(breakdown[name]) > 0]
