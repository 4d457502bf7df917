"""`s2a predictions`: how far predicted peaks were from measured ones on this machine, and the margin that follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.markup import escape

from app.cli import options
from app.cli.terminal import Terminal
from s2a_core.errors import InvalidInput

SHOWN = 20


def predictions(
    ctx: typer.Context,
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR...]", help="Output directories of `s2a train`.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", metavar="FILE", help="JSON lines of pairs; those of this machine if not said."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare predicted and measured peaks: of finished runs, or of every plan verified on this machine."""
    terminal: Terminal = ctx.obj
    from app.cli.profiles import pairs_file, peak_pairs

    if pairs is not None and not pairs.is_file():
        raise InvalidInput(f"{pairs}: no such file; without --pairs those of this machine are taken")
    measured = _of_runs(runs) if runs else peak_pairs(pairs or pairs_file())
    document = summary(measured)
    terminal.document(document)
    for pair in measured[-SHOWN:]:
        terminal.say(escape(f"{pair['run']}  {100 * pair['error']:+.2f} %"))
    if not measured:
        where = "in these runs" if runs else f"in {pairs}" if pairs else "on this machine"
        terminal.say(escape(f"no plan has been verified {where}: `s2a train` does it"))
        return
    terminal.say(
        f"{len(measured)} pairs, median {100 * document['median']:.2f} %, worst {100 * document['worst']:.2f} %, "
        f"{document['under_predicted']} measured above their prediction; "
        f"the margin kept free is {100 * document['margin']:.2f} % of the predicted peak"
    )


def summary(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count, median, worst, how many lay above their prediction, and the margin. error: measured over predicted - 1."""
    from s2a_core.planning.margin import error_share

    errors = sorted(abs(pair["error"]) for pair in pairs)
    return {
        "count": len(pairs),
        "median": median(errors) if errors else None,
        "worst": errors[-1] if errors else None,
        "under_predicted": sum(pair["error"] > 0 for pair in pairs),
        "margin": error_share([pair["error"] for pair in pairs]),
        "pairs": list(pairs),
    }


def _of_runs(runs: Sequence[Path]) -> list[dict[str, Any]]:
    from s2a_core.outputs.read import read_document

    pairs = []
    for run in runs:
        path = run / "report.json"
        if not path.is_file():
            raise InvalidInput(f"{run} is not a finished run: report.json is missing")
        report = read_document(path)
        predicted, measured = report.get("predicted_peak_bytes"), report.get("measured_peak_bytes")
        if predicted and measured and isinstance(predicted, int) and isinstance(measured, int):
            error = measured / predicted - 1
            pairs.append({"run": str(run), "predicted_bytes": predicted, "measured_bytes": measured, "error": error})
    return pairs
