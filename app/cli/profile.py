"""`s2a profile`: what each site of a model keeps for backward, under every storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from rich.table import Table

from app.cli import options
from app.cli.requests import require, run_request
from app.cli.tables import boxed
from app.cli.terminal import LOADING, Terminal
from s2a_core.pictures import profile_rows
from s2a_core.requests import BATCH_SIZE, starting_weights
from s2a_core.sizes import format_bytes

FIELDS = (
    "model", "adapter", "batch_size", "image_size", "num_classes", "precision", "weight_format", "device", "weights",
    "drop_path",
)  # fmt: skip
ADAPTER = "bias"


@options.takes(FIELDS, adapter=ADAPTER, batch_size=str(BATCH_SIZE), weights="pretrained ones", precision="the device's")
def profile(ctx: typer.Context, asked: options.Asked, json: options.Json = False) -> None:
    """Measure what each site of MODEL keeps between forward and backward, stored in every way."""
    terminal: Terminal = ctx.obj
    require(asked, "model")
    from app.cli.progress import follower

    weights = starting_weights(asked["model"], asked.get("weights"))
    request = run_request({"adapter": ADAPTER, **asked, "weights": weights})
    with terminal.busy(LOADING):
        from s2a_core.planner import Planner

    with follower(terminal, None) as follow:
        document = Planner(request, on_event=follow).profile().to_json()
    terminal.document(document)
    terminal.say(
        f"[name]{request.model}[/]  {request.adapter}, {document.get('precision')}, "
        f"weights {format_bytes(document['params_bytes'])}, "
        f"activations [number]{format_bytes(document['activation_bytes_per_sample'])}[/] per sample, kept exactly"
    )
    terminal.say(_table(document))


def _table(document: Mapping[str, Any]) -> Table:
    """One row per kind of operator: sites and bytes per sample, exact and in the smallest form."""
    right = ("sites", "exact per sample", "smallest per sample")
    table = boxed("operator", *right, right=right)
    for op, count, exact, smallest in profile_rows(document):
        table.add_row(op, str(count), format_bytes(exact), format_bytes(smallest))
    return table
