"""`s2a push`: a finished run as a model of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from app.cli import options
from app.cli.terminal import LOADING, Terminal


def push(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The --output of `s2a train` or `s2a download`.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository; made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make it for its owner alone.")] = False,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="FILE", help="The base weights, if they have moved.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Upload the trained model with a card; timm loads it by name where the adapter merges into the weights."""
    terminal: Terminal = ctx.obj
    with terminal.busy(LOADING):
        from s2a_core.inference import load_run
        from s2a_core.inference.push import push_run

    with terminal.busy(escape(f"sending {directory} to {repository}")):
        document = push_run(load_run(directory, weights), repository, is_private=private)
    terminal.document(document)
    terminal.say(f"[good]{escape(document['url'])}[/]  {', '.join(document['files'])}")
