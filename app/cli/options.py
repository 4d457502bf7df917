"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from s2a_core.adapters.spec import HELP as ADAPTER_HELP

Precision = Literal["fp32", "bf16"]
Objective = Literal["accuracy", "speed", "balanced"]

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A timm model name, or s2a_tiny, the small ViT that ships with s2a.")
]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout, everything else to stderr.")]
Budget = Annotated[
    str, typer.Option("--budget", metavar="SIZE", help="Memory the job may use: 4GiB, 4096MiB, 4GB or bytes.")
]
DataSource = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="A directory of images (DIR/CLASS/IMAGE or DIR/{train,val}/CLASS/IMAGE), a zip or tar of one, `digits`, "
        "`torchvision:NAME` or `hf:owner/name`.",
    ),
]
Adapter = Annotated[
    str,
    typer.Option(
        "--adapter",
        metavar="KINDS",
        help=ADAPTER_HELP,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option("--weights", metavar="FILE", help="A safetensors file, `pretrained` (downloads timm's) or `none`."),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, metavar="N", help="Images per optimizer step.")]
ImageSize = Annotated[
    int | None,
    typer.Option("--image-size", min=8, metavar="N", help="Pixels along a side; the model's own by default."),
]
PrecisionOption = Annotated[
    Precision | None, typer.Option("--precision", help="bf16 on CUDA and fp32 on CPU unless said.")
]
Device = Annotated[str | None, typer.Option("--device", metavar="NAME", help="cpu or cuda; cuda where there is one.")]
ObjectiveOption = Annotated[Objective, typer.Option("--objective", help="What to optimise inside the budget.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the split, the weights and the order.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Directory for everything the run makes; without it runs/MODEL-DATA-N."
    ),
]
