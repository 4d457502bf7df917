"""`s2a export`: a finished run as one file that others can load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from app.cli import options
from app.cli.terminal import LOADING, Terminal
from s2a_core.sizes import format_bytes


def export(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The --output of `s2a train` or `s2a download`.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="What to write: .safetensors, .pt, .onnx or .zip; without it model.safetensors or model.zip in DIR.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="FILE", help="The base weights, if they have moved.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Write the trained model in the format that FILE's suffix names, after checking that it gives the same logits.

    .safetensors, .pt, .pth: a checkpoint of plain timm, where the adapter merges into the weights; of segmentation one
    for s2a_core.segmenter. .onnx: for other runtimes. .zip: a package for s2a, with any adapter.
    """
    terminal: Terminal = ctx.obj
    with terminal.busy(LOADING):
        from s2a_core.inference import export_name, export_run, load_run
        from s2a_core.inference.formats import FORMATS

    with terminal.busy(escape(f"exporting {directory}")):
        run = load_run(directory, weights)
        file = file or directory / export_name(run)
        document = export_run(run, file)
    terminal.document(document)
    description = next(f.description for f in FORMATS if f.name == document["format"])
    terminal.say(
        f"[good]{escape(str(file))}[/]  {format_bytes(int(document['bytes']))}, {description}",
        f"its logits are the run's (largest difference {document['largest_difference']:.1g} of the largest)",
        escape(f"load it with {document['load']}"),
    )
