"""Names of files, directories and classes as text that can be printed, stored and told apart."""

from __future__ import annotations

from collections.abc import Iterable


def printable(name: str) -> str:
    r"""The name as valid Unicode: bytes of a file name that are no UTF-8 stand as `\udcXX`. It opens no file."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def distinct(names: Iterable[str]) -> list[str]:
    """The names in their order; one that was there already gets a number: `a`, `a (2)`."""
    taken: dict[str, None] = {}
    for name in names:
        free, number = name, 2
        while free in taken:
            free, number = f"{name} ({number})", number + 1
        taken[free] = None
    return list(taken)
