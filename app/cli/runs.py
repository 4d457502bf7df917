"""`s2a runs`: output directories of `s2a train` side by side, with what differs between them and their curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from app.cli import options
from app.cli.terminal import Terminal
from s2a_core.errors import InvalidInput

if TYPE_CHECKING:
    from s2a_core.outputs.comparison import Run

FOLDER = Path("runs")  # where `s2a train` writes without --output
PLACES = (".", "*", "*/*")  # of a run below a directory that is given
Order = Literal["date", "accuracy", "peak", "budget", "seconds", "name", "model"]


def runs(
    ctx: typer.Context,
    directories: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[DIR...]", help="Output directories of `s2a train`, or folders of them; `runs` if not said."
        ),
    ] = None,
    sort: Annotated[Order, typer.Option("--sort", help="The best, smallest, quickest or newest first.")] = "date",
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    search: Annotated[
        str, typer.Option("--search", metavar="WORDS", help="Only runs with all these words: `deit lr=0.001`.")
    ] = "",
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Their curves overlaid, as .png, or .html with tables."),
    ] = None,
    json: options.Json = False,
) -> None:
    """List training runs of this machine side by side, with the parameters that differ."""
    from s2a_core.outputs.comparison import ORDERS, differing, matches

    terminal: Terminal = ctx.obj
    if plot is not None:
        from app.cli.plot import check_plot_name

        check_plot_name(plot)
    listed = sorted(
        (run for run in read_runs(directories or [FOLDER]) if matches(run, search)), key=ORDERS[sort], reverse=reverse
    )
    if directories and not listed:
        words = f" that holds the words {search!r}" if search else ""
        raise InvalidInput(f"no run{words} in {', '.join(map(str, directories))}: `s2a train --output DIR` makes one")
    terminal.document({"items": [run.to_json() for run in listed], "differing": differing(listed)})
    if not listed:
        words = f" with the words {escape(search)}" if search else ""
        terminal.say(f"no run{words} in {FOLDER}/: `s2a train` writes there without --output, or name directories")
        return
    from app.cli import tables

    terminal.say(tables.runs(listed, terminal.out.width))
    if (rows := tables.differences(listed)) is not None:
        terminal.say("", rows)
    if plot is not None:
        from app.cli.plot import plot_runs

        plot_runs(listed, plot)
        terminal.note(escape(f"curves in {plot}"))


def read_runs(directories: Sequence[Path]) -> list[Run]:
    """Every run in these directories or up to two folders below them, once. Raises InvalidInput for a damaged report,
    and for a directory that is not there, but for the one that nobody named.
    """
    from app.cli.requests import read_config
    from s2a_core.outputs.comparison import FINISHED, UNFINISHED, run_of
    from s2a_core.outputs.read import read_document
    from s2a_core.outputs.write import REPORT
    from s2a_core.requests import FIELDS

    documents = []
    for folder in dict.fromkeys(path for directory in directories for path in _folders(directory)):
        asked: dict[str, Any] = {}
        if (folder / options.REQUEST).is_file():
            asked = read_config(folder / options.REQUEST, FIELDS)
        is_finished = (folder / REPORT).is_file()
        report = read_document(folder / REPORT) if is_finished else {}
        status = UNFINISHED if not is_finished else FINISHED if report.get("within_budget") else "over budget"
        documents.append(run_of(str(folder), status, asked, report))
    return documents


def _folders(directory: Path) -> Iterator[Path]:
    if not directory.is_dir():
        if directory != FOLDER:
            raise InvalidInput(f"{directory}: no such directory", details={"path": str(directory)})
        return
    for place in PLACES:
        for folder in sorted(directory.glob(place)) if place != "." else [directory]:
            if (folder / options.REQUEST).is_file() or (folder / "report.json").is_file():
                yield folder
