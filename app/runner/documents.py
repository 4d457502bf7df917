"""How a child process of the service takes its order and gives its answer: JSON on standard input, JSON in a file."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.runner.parent import end_with_parent
from s2a_core.datasets.access import DataAccess
from s2a_core.errors import InfeasibleBudget, InvalidInput, S2AError

Answer = dict[str, Any]
PRIVATE = 0o077  # what this makes is for the service's own user


def reason_of(error: S2AError, details: dict[str, Any] | None = None) -> Answer:
    """An error as the API's `reason`."""
    return {"code": error.code, "message": error.message, "details": error.details if details is None else details}


def require_weights(access: DataAccess, weights: object) -> None:
    """Raises InvalidInput for a weights file that leads out of what may be read, by links made since it was named."""
    if isinstance(weights, str) and weights.startswith("/") and not access.allows(weights):
        raise InvalidInput("the weights file lies outside the directories that may be read")


def progress_path(answer: Path) -> Path:
    """Where a child says what it does, beside its answer."""
    return answer.with_name(f"{answer.name}.progress")


class Progress:
    """Writes what a child does into its file, for whoever shows it; at most every EVERY_S."""

    EVERY_S = 1.0

    def __init__(self, answer: Path) -> None:
        self._path, self._last = progress_path(answer), float("-inf")

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event of a planner."""
        now = time.monotonic()
        if event.get("type") not in ("stage", "progress") or now - self._last < self.EVERY_S:
            return
        self._last = now
        left = event.get("eta_s")
        words = event.get("message") or f"{event['phase']}: site {event['done']} of {event['total']}"
        part = self._path.with_suffix(".part")
        part.write_text(words + (f", about {left:.0f} s left" if left else ""), encoding="utf-8")
        part.replace(self._path)


def serve(
    work: Callable[..., Answer], failed: str, argv: list[str] | None = None, *, has_progress: bool = False
) -> int:
    """Run `work` on the order and write its answer to the file named on the command line.

    has_progress: work takes a second argument, for events that say how far it is.
    failed: the status of an answer whose work raised bad input; a budget that cannot be met is `infeasible`.
    """
    parser = argparse.ArgumentParser(description=work.__doc__)
    parser.add_argument("answer", type=Path)
    parser.add_argument("--parent", type=int, help="process id of the service; this process ends with it")
    args = parser.parse_args(argv)
    if args.parent is not None:
        end_with_parent(args.parent)
    os.umask(PRIVATE)
    order = json.loads(sys.stdin.read())
    try:
        answer = work(order, Progress(args.answer)) if has_progress else work(order)
    except InfeasibleBudget as error:
        answer = {"status": "infeasible", "reason": reason_of(error)}
    except S2AError as error:
        answer = {"status": failed, "reason": reason_of(error)}
    except Exception as error:  # the child's boundary: the service keeps the traceback with the thing it was about
        details = {"traceback": traceback.format_exc()}
        message = f"{type(error).__name__}: {error}"
        answer = {"status": failed, "reason": {"code": "internal_error", "message": message, "details": details}}
    part = args.answer.with_name(f".{args.answer.name}.part")
    part.write_text(json.dumps(answer, default=str), encoding="utf-8")
    part.replace(args.answer)
    return 0
