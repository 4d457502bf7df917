"""`s2a profile`: what each site of a model keeps for backward, under every storage."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from app.cli import options
from app.cli.terminal import Terminal
from s2a_core.sizes import format_bytes


def profile(
    ctx: typer.Context,
    model: options.Model,
    adapter: options.Adapter = "bias",
    batch_size: options.BatchSize = 4,
    image_size: options.ImageSize = None,
    num_classes: Annotated[int, typer.Option("--num-classes", min=2, help="Classes of the head.")] = 1000,
    precision: options.PrecisionOption = None,
    device: options.Device = None,
    weights: options.Weights = None,
    json: options.Json = False,
) -> None:
    """Measure what each site of MODEL keeps between forward and backward, stored in every way."""
    terminal: Terminal = ctx.obj
    from app.cli.requests import run_request
    from s2a_core import pipeline

    request = run_request(
        model=model,
        adapter=adapter,
        batch_size=batch_size,
        image_size=image_size,
        num_classes=num_classes,
        precision=precision,
        device=device,
        weights=weights,
    )
    document = pipeline.make_profile(request).to_json()
    terminal.document(document)
    terminal.say(
        f"[name]{model}[/]  {adapter}, {document.get('precision')}, weights {format_bytes(document['params_bytes'])}, "
        f"activations [number]{format_bytes(document['activation_bytes_per_sample'])}[/] per sample, kept exactly"
    )
    terminal.say(_table(document["sites"]))


def _table(sites: list[dict[str, object]]) -> Table:
    """One row per kind of operator: sites and bytes per sample, exact and in the smallest form."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for site in sites:
        sizes = {str(o["storage"]): int(o["bytes_per_sample"]) for o in site["options"]}  # type: ignore[attr-defined]
        row = rows[str(site["op"])]
        row[0] += 1
        row[1] += sizes.get("exact", 0)
        row[2] += min(sizes.values(), default=0)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0))
    for name in ("operator", "sites", "exact per sample", "smallest per sample"):
        table.add_column(name, justify="left" if name == "operator" else "right")
    for op, (count, exact, smallest) in sorted(rows.items(), key=lambda item: -item[1][1]):
        table.add_row(op, str(count), format_bytes(exact), format_bytes(smallest))
    return table
