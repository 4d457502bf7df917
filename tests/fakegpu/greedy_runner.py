"""The real runner and pipeline, whose training holds more of its device than any plan knows of.

`python -m tests.fakegpu.greedy_runner MIB ...`: so many MiB from the first step of a process on, to its end.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from s2a_core import pipeline
from s2a_core.requests import RunRequest

MIB = 2**20
Run = Callable[[RunRequest, Callable[[dict[str, Any]], None]], dict[str, Any]]


def greedy(real: Run, num_bytes: int) -> Run:
    """`pipeline.run` with a tensor of num_bytes on the device beside its training."""

    def run(request: RunRequest, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        import torch

        held: list[torch.Tensor] = []

        def listen(event: dict[str, Any]) -> None:
            if event["type"] == "step" and not held:
                held.append(torch.empty(num_bytes, dtype=torch.uint8, device="cuda"))
            on_event(event)

        return real(request, listen)

    return run


if __name__ == "__main__":
    num_bytes = int(sys.argv.pop(1)) * MIB
    vars(pipeline)["run"] = greedy(pipeline.run, num_bytes)
    from app.runner.__main__ import main

    sys.exit(main())
