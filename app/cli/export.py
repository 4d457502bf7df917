"""`s2a export`: a finished run as one file that others can load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from app.cli import options
from app.cli.terminal import Terminal
from s2a_core.sizes import format_bytes


def export(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The --output of `s2a train` or `s2a download`.")],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="What to write; without it model.safetensors or model.zip in DIR."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="FILE", help="The base weights, if they have moved.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Write a full timm checkpoint where the adapter merges into the weights, otherwise a package for s2a."""
    terminal: Terminal = ctx.obj
    from s2a_core.inference import export_name, export_run, load_run

    run = load_run(directory, weights)
    file = file or directory / export_name(run)
    document = export_run(run, file)
    terminal.document(document)
    kind = (
        "a checkpoint of plain timm"
        if document["format"] == "timm"
        else "a package for s2a (the adapter cannot be merged)"
    )
    terminal.say(
        f"[good]{escape(str(file))}[/]  {format_bytes(int(document['bytes']))}, {kind}",
        escape(f"load it with {document['load']}"),
    )
