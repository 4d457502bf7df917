"""How far a profile is: an event after each group of sites, for a callback or as lines on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from s2a_core.train.types import OnEvent


def with_progress(groups: Sequence[list[Any]], on_event: OnEvent) -> Iterator[list[Any]]:
    """The groups of sites one after another; after each an event with the sites measured and the seconds left.

    eta_s: by the mean time of the groups so far, each of which takes as many steps whatever its sites.
    """
    total, done, start = sum(map(len, groups)), 0, time.perf_counter()
    for number, group in enumerate(groups, 1):
        yield group
        done += len(group)
        eta_s = (time.perf_counter() - start) / number * (len(groups) - number)
        on_event({"type": "progress", "phase": "profiling", "done": done, "total": total, "eta_s": round(eta_s, 1)})


def listener(progress: bool | OnEvent) -> OnEvent:
    """What hears of progress: the callback that was given, lines on stderr for True, nothing for False."""
    if not isinstance(progress, bool):
        return progress
    return _write_line if progress else lambda event: None


def _write_line(event: dict[str, Any]) -> None:
    words = f"{event['phase']}: site {event['done']} of {event['total']}"
    sys.stderr.write(f"{words}, about {event['eta_s']:.0f} s left\n" if event["eta_s"] else f"{words}\n")
