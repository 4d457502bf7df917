"""Names of files, directories, classes and models as text that can be printed, stored and told apart."""

from __future__ import annotations

import re
from collections.abc import Iterable

TIMM_ON_THE_HUB = re.compile(r"(hf[-_]hub:)?timm/")


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


def timm_name(name: str) -> str:
    """A model's own name, where it is called as on Hugging Face's hub: `timm/NAME`, `hf_hub:timm/NAME`."""
    on_hub = TIMM_ON_THE_HUB.match(name)
    return name[on_hub.end() :] if on_hub else name
