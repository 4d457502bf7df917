"""What the cells of a table's column hold: flags, numbers, several words."""

from __future__ import annotations

import math

from s2a_core.tasks.task import Cells

FLAGS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}
SEPARATORS = ("|", ";")  # of several labels in a cell; where a task is said, commas and spaces too
ALL_SEPARATORS = (*SEPARATORS, ",", " ")


def flag(text: str) -> float | None:
    """0 or 1; None for what is neither."""
    return FLAGS.get(text.casefold())


def number(text: str) -> float | None:
    """A finite number; None for what is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def has_fraction(text: str) -> bool:
    """Whether a text is a number that is not whole."""
    value = number(text)
    return value is not None and not value.is_integer()


def are_flags(cells: Cells) -> bool:
    """Whether most cells are 0 or 1, so that the others are mistakes."""
    return 2 * sum(flag(text) is not None for text in cells) > len(cells)


def are_numbers(cells: Cells) -> bool:
    """Whether most cells are numbers, so that the others are mistakes."""
    return 2 * sum(number(text) is not None for text in cells) > len(cells)


def separator(cells: Cells, known: tuple[str, ...] = SEPARATORS) -> str:
    """The first of the separators that a cell has between words; empty where none has any."""
    return next((mark for mark in known if any(mark in text.strip(mark) for text in cells)), "")
