"""`s2a accuracy`: how far predicted peaks were from measured ones on this machine."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from app.cli import options
from app.cli.terminal import Terminal


def accuracy(
    ctx: typer.Context,
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Output directories of `s2a train`.")],
    json: options.Json = False,
) -> None:
    """Compare predicted and measured peaks of finished runs."""
    terminal: Terminal = ctx.obj
    from s2a_core.errors import InvalidInput

    pairs = []
    for run in runs:
        path = run / "report.json"
        if not path.is_file():
            raise InvalidInput(f"{run} is not a finished run: report.json is missing")
        report = json_format.loads(path.read_text(encoding="utf-8"))
        predicted, measured = report.get("predicted_peak_bytes"), report.get("measured_peak_bytes")
        if predicted and measured:
            error = (measured - predicted) / measured
            pairs.append({"run": str(run), "predicted_bytes": predicted, "measured_bytes": measured, "error": error})
    errors = sorted(abs(pair["error"]) for pair in pairs)
    document = {
        "count": len(pairs),
        "median": median(errors) if errors else None,
        "worst": errors[-1] if errors else None,
        "under_predicted": sum(pair["error"] > 0 for pair in pairs),
        "pairs": pairs,
    }
    terminal.document(document)
    for pair in pairs:
        terminal.say(f"{pair['run']}  {100 * pair['error']:+.2f} %")
    if errors:
        terminal.say(f"median {100 * median(errors):.2f} %, worst {100 * errors[-1]:.2f} %")
