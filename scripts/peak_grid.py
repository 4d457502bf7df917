"""Predicted against measured peaks over models, adapters and budgets: a resumable grid that writes a table.

    python scripts/peak_grid.py --output grid.jsonl [--models a,b] [--adapters bias,side] [--size 64] [--minutes 10]

Each line of the output is one (model, adapter, budget): the plan's predicted peak, the peak of a real step of it, and,
after verification, the promised and measured ones. Lines that are there already are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.errors import S2AError
from s2a_core.models import load_model
from s2a_core.planning import plan
from s2a_core.planning.pairs import recorded
from s2a_core.planning.replan import Replanner
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling import Profile, profile
from s2a_core.verify import verify

# Small images and few samples keep a configuration at seconds. (model, image size, options of timm)
MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "s2a_tiny": (32, {}),
    "resnet18": (64, {}),
    "vit_tiny_patch16_224": (64, {"img_size": 64}),
    "convnext_atto": (64, {}),
    "mobilenetv2_100": (64, {}),
    "mixer_s32_224": (64, {"img_size": 64}),
    "poolformer_s12": (64, {}),
    "regnety_002": (64, {}),
    "mobilenetv3_small_100": (64, {}),
    "pvt_v2_b0": (64, {}),
    "efficientnet_b0": (64, {}),
    "mobilevit_xxs": (64, {}),
    "vgg11_bn": (64, {}),
    "edgenext_xx_small": (64, {}),
    "ghostnet_100": (64, {}),
    "eva02_tiny_patch14_224": (56, {"img_size": 56}),
    "coat_lite_tiny": (64, {"img_size": 64}),
    "fastvit_t8": (64, {}),
    "xcit_nano_12_p16_224": (64, {}),
    "mnasnet_100": (64, {}),
    "vit_tiny_r_s16_p8_224": (64, {"img_size": 64}),
    "deit3_small_patch16_224": (64, {"img_size": 64}),
    "resnext50_32x4d": (64, {}),
    "rexnet_100": (64, {}),
    "fbnetc_100": (64, {}),
    "nfnet_l0": (64, {}),
    "beit_base_patch16_224": (64, {"img_size": 64}),
    "levit_128s": (224, {}),
    "pit_ti_224": (224, {}),
    "twins_pcpvt_small": (64, {}),
    "swin_tiny_patch4_window7_224": (112, {"img_size": 112}),
    "tiny_vit_5m_224": (224, {}),
    "cait_xxs24_224": (64, {"img_size": 64}),
    "deit_tiny_patch16_224": (96, {"img_size": 96}),
    "resnet50": (64, {}),
    "densenet121": (64, {}),
    "convmixer_768_32": (64, {}),
    "hrnet_w18_small": (64, {}),
    "crossvit_tiny_240": (240, {}),
    "efficientformerv2_s0": (224, {}),
    "inception_v3": (96, {}),
    "maxvit_tiny_tf_224": (224, {}),
    "lcnet_050": (64, {}),
    "mobilenetv4_conv_small": (64, {}),
    "convnextv2_atto": (64, {}),
    "starnet_s1": (64, {}),
    "efficientvit_b0": (64, {}),
    "repvgg_a0": (64, {}),
}
HEAD = (
    "# Predicted beside measured peaks",
    "",
    "Made by `make peaks` (scripts/peak_grid.py, resumable, results.jsonl). CPU, fp32, batch 8, random weights, small",
    "images. Error: the planner's prediction over the peak of two real steps and an evaluation, before verification;",
    "the last column counts verified plans whose measured peak lay above what was then promised.",
    "",
)
ADAPTERS = ("bias", "bias,prompt", "side", "lora", "lora-lite", "full")
# Of the way from the smallest budget to what the exact plan of the whole batch needs.
SHARES = (0.0, 0.25, 0.7)
BATCH = 8
BROKEN = ("RuntimeError", "ValueError")

Row = dict[str, Any]


def main() -> None:
    """Runs what is missing of the grid and prints its summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("peak_grid.jsonl"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--adapters", default=" ".join(ADAPTERS), help="sets separated by spaces")
    parser.add_argument("--size", type=int, help="image size for models that are not in the list")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--table", type=Path, help="write the table in Markdown")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    rows = read(given.output)
    known = finished(rows)
    console = Console()
    for model in given.models.split(","):
        for adapter in given.adapters.split():
            if (model, adapter) in known or time.monotonic() > until:
                continue
            for row in configuration(model, adapter, given.precision, given.size):
                rows.append(row)
                with given.output.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                console.print(line_of(row), highlight=False)
    console.print(summary(rows))
    if given.table:
        given.table.write_text(markdown(rows))


def read(path: Path) -> list[Row]:
    """The lines of earlier runs; of one that was cut off, the later ones."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    rows = [row for row in rows if not is_broken(row)]
    return list({(row["model"], row["adapter"], row.get("share")): row for row in rows}.values())


def finished(rows: list[Row]) -> set[tuple[str, str]]:
    """Models with adapters that have every budget, or were refused with a reason; what broke is run again."""
    number = Counter((row["model"], row["adapter"]) for row in rows if "share" in row)
    return {key for key, of in number.items() if of == len(SHARES)} | {
        (row["model"], row["adapter"]) for row in rows if "share" not in row and not is_broken(row)
    }


def is_broken(row: Row) -> bool:
    """Whether a row tells of an error that is nobody's refusal."""
    return str(row.get("refused", "")).startswith(BROKEN)


def configuration(model_name: str, adapter: str, precision: str, size: int | None) -> Iterator[Row]:
    """One model with one adapter at every budget; one row with the reason where it cannot be made."""
    known_size, options = MODELS.get(model_name, (size or 224, {}))
    size = size or known_size
    start = time.monotonic()
    try:
        torch.manual_seed(0)
        model = add_adapters(load_model(model_name, "none", 10, **options), AdapterSpec.parse(adapter), size)
        found = profile(
            model, size, 4, precision, name=model_name, adapter=adapter, has_baselines=False,
            sensitivity_s=0.0, refine_s=0.0,
        )  # fmt: skip
    except (S2AError, RuntimeError, ValueError) as error:
        yield {"model": model_name, "adapter": adapter, "refused": f"{type(error).__name__}: {error}"}
        return
    profiled = time.monotonic() - start
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(BATCH, 3, size, size, generator=generator)
    labels = torch.randint(0, 10, (BATCH,), generator=generator)
    for share, budget in budgets(found):
        made = plan(found, budget, BATCH, has_frontier=False)
        pairs = Path(tempfile.mkdtemp()) / "pairs.jsonl"
        verified, refused = None, ""
        try:
            verified = verify(model, made, images, labels, Replanner(found), pairs)
        except S2AError as error:
            refused = str(error)
        measured = recorded(pairs)[0].measured_bytes
        row: Row = {
            "model": model_name, "adapter": adapter, "size": size, "precision": precision, "share": share,
            "budget": budget, "micro_batch": made.micro_batch, "predicted": made.predicted.peak_bytes,
            "measured": measured, "error": made.predicted.peak_bytes / measured - 1, "profile_s": round(profiled, 1),
        }  # fmt: skip
        if verified is None:
            row["refused"] = refused
        else:
            row |= {"promised": verified.plan.predicted.peak_bytes, "verified": verified.measured_peak_bytes}
            row |= {"rounds": verified.rounds}
        yield row


def budgets(found: Profile) -> Iterator[tuple[float, int]]:
    """Shares of the way from the smallest budget to the exact plan's, with their bytes."""
    low = smallest_budget(found, BATCH)
    high = plan(found, 2**50, BATCH, has_frontier=False).predicted.peak_bytes
    for share in SHARES:
        yield share, int(low + share * max(high - low, 0))


def line_of(row: Row) -> str:
    """A row for people."""
    head = f"{row['model']:30s} {row['adapter']:12s}"
    if "measured" not in row:
        return f"{head} refused: {row['refused'][:120]}"
    rest = f"verified in {row['rounds']}" if "rounds" in row else f"refused: {row['refused'][:90]}"
    return (
        f"{head} {row['budget'] / 2**20:8.1f} MiB  predicted {row['predicted'] / 2**20:8.2f}  "
        f"measured {row['measured'] / 2**20:8.2f}  {100 * row['error']:+6.2f} %  by {row['micro_batch']}  {rest}"
    )


def summary(rows: list[Row]) -> Table:
    """Median, worst, and how many measurements lie above their promise."""
    table = Table(title=f"predicted against measured peak, {os.cpu_count()} cores")
    for column in ("adapter", "models", "plans", "median", "worst over", "worst under", "under after verification"):
        table.add_column(column, justify="left" if column == "adapter" else "right")
    for adapter in (*dict.fromkeys(row["adapter"] for row in rows), "all"):
        of = [r for r in rows if "measured" in r and adapter in (r["adapter"], "all")]
        if not of:
            continue
        errors = [r["error"] for r in of]
        missed = sum(r["verified"] > min(r["promised"], r["budget"]) for r in of if "verified" in r)
        table.add_row(
            adapter, str(len({r["model"] for r in of})), str(len(of)),
            f"{100 * median(map(abs, errors)):.2f} %", f"{100 * max(errors):+.2f} %", f"{100 * min(errors):+.2f} %",
            f"{missed} of {sum('verified' in r for r in of)}",
        )  # fmt: skip
    return table


def markdown(rows: list[Row]) -> str:
    """The summary and every plan of the grid as a page in Markdown."""
    lines = [*HEAD, *_summary_lines(rows), "", "## Every plan", ""]
    lines += ["| model | adapter | budget MiB | micro-batch | predicted MiB | measured MiB | error |", "|" + "---|" * 7]
    for r in rows:
        if "measured" in r:
            sizes = [f"{r[key] / 2**20:.2f}" for key in ("budget", "predicted", "measured")]
            lines.append(
                f"| {r['model']} {r['size']} px | {r['adapter']} | {sizes[0]} | {r['micro_batch']} | {sizes[1]} | "
                f"{sizes[2]} | {100 * r['error']:+.2f} % |"
            )
    refused = [f"- {r['model']}, {r['adapter']}: {r['refused']}" for r in rows if "measured" not in r]
    lines += ["", "## Not measured", "", *refused] if refused else []
    return "\n".join(lines) + "\n"


def _summary_lines(rows: list[Row]) -> list[str]:
    """The summary as a Markdown table."""
    table = summary(rows)
    cells = zip(*(list(column.cells) for column in table.columns), strict=True)
    heads = [str(column.header) for column in table.columns]
    return ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *(map(str, c) for c in cells))]


if __name__ == "__main__":
    main()
