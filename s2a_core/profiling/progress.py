"""How far a profile is: an event for each stage and after each group of sites, for a callback or as lines on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from s2a_core.train.types import OnEvent

PROFILING = "profiling"
WAY_WORDS = {
    "exact": "everything kept exact",
    "codes": "everything kept in codes",
    "region": "regions rebuilt",
    "block": "blocks rebuilt",
}


def stage(on_event: OnEvent, message: str) -> None:
    """Say what the profile does from here on, where it cannot say how much of it is done."""
    on_event({"type": "stage", "phase": PROFILING, "message": message})


def await_kernels(device_type: str, on_event: OnEvent) -> None:
    """Load what steps on this device run; says so where the compiler is waited for, which is once per machine."""
    from s2a_core.kernels import prefer_native
    from s2a_core.kernels.native.build import library_path

    if device_type == "cpu" and not library_path().is_file():
        stage(on_event, "compiling kernels for this processor, once per machine")
    prefer_native(device_type)


def with_progress(groups: Sequence[list[Any]], on_event: OnEvent) -> Iterator[list[Any]]:
    """The groups of sites one after another; after each an event with the sites measured and the seconds left.

    eta_s: by the mean time of the groups so far, each of which takes as many steps whatever its sites.
    """
    total, done, start = sum(map(len, groups)), 0, time.perf_counter()
    for number, group in enumerate(groups, 1):
        yield group
        done += len(group)
        eta_s = (time.perf_counter() - start) / number * (len(groups) - number)
        on_event({"type": "progress", "phase": PROFILING, "done": done, "total": total, "eta_s": round(eta_s, 1)})


def listener(progress: bool | OnEvent) -> OnEvent:
    """What hears of progress: the callback that was given, lines on stderr for True, nothing for False."""
    if not isinstance(progress, bool):
        return progress
    return _write_line if progress else lambda event: None


def _write_line(event: dict[str, Any]) -> None:
    if event["type"] == "stage":
        words = event["message"]
    else:
        words = f"site {event['done']} of {event['total']}"
        words += f", about {event['eta_s']:.0f} s left" if event["eta_s"] else ""
    sys.stderr.write(f"{event['phase']}: {words}\n")
