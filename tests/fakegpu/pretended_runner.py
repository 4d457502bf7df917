"""The real runner with a pretended training that takes memory of its device as a script says.

`python -m tests.fakegpu.pretended_runner DIRECTORY ...`: each attempt of a job with seed N follows DIRECTORY/N.json, a
list of steps, from the beginning: {"wait": NAME} until DIRECTORY/NAME exists; {"take": MiB} of the device, kept;
{"plan": MiB} a verified plan of that peak; {"once": NAME, ...} is left out where DIRECTORY/NAME exists, and makes it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2a_core import pipeline
from s2a_core.requests import RunRequest

MIB = 2**20
WAIT_S = 300.0


def await_file(path: Path) -> None:
    """Until it exists. Raises TimeoutError after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(str(path))
        time.sleep(0.02)


def pretended(directory: Path) -> Callable[..., dict[str, Any]]:
    """`pipeline.run` that follows the script of its request's seed."""

    def run(request: RunRequest, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        import torch

        taken = []
        for step in json.loads((directory / f"{request.seed}.json").read_text()):
            once = directory / step["once"] if "once" in step else None
            if once is not None and once.exists():
                continue
            if once is not None:
                once.touch()
            if "wait" in step:
                await_file(directory / step["wait"])
            if "take" in step:
                taken.append(torch.empty(step["take"] * MIB, dtype=torch.uint8, device="cuda"))
            if "plan" in step:
                peak_bytes = step["plan"] * MIB
                predicted = {"peak_bytes": peak_bytes, "breakdown": {"context": 0, "working": peak_bytes}}
                on_event({"type": "plan", "plan": {"predicted": predicted, "budget_bytes": request.budget_bytes}})
        return {"accuracy": 0.5, "budget_bytes": request.budget_bytes, "within_budget": True}

    return run


if __name__ == "__main__":
    place = Path(sys.argv.pop(1))
    vars(pipeline)["run"] = pretended(place)
    from app.runner.__main__ import main

    if (place / "hold").exists():  # a reservation is there, and no context yet
        await_file(place / "go")
    sys.exit(main())
