"""Predicted against measured peaks over models, adapters and budgets: a resumable grid that writes a table.

    python scripts/peak_grid.py --output grid.jsonl [--models a,b] [--adapters bias,side] [--size 64] [--minutes 10]
                                [--precisions fp32,bf16] [--weights float,int8,nf4] [--optimizers adamw,adamw8bit]
    make peaks      docs/peaks/README.md; beside it weights.md, of the three axes of the last line

Each line of the output is one (case, budget), the case a model with an adapter, a precision, a format of frozen weights
and an optimizer: the plan's predicted peak, the peak of a real step of it, and, after verification, the promised and
measured ones. Lines that are there already are not run again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.adapters.spec import FULL
from s2a_core.compression import narrow_weights
from s2a_core.errors import S2AError
from s2a_core.models import load_model
from s2a_core.planning import plan
from s2a_core.planning.overhead import Overhead
from s2a_core.planning.pairs import recorded
from s2a_core.planning.replan import Replanner
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling import Profile, profile
from s2a_core.storage import OPTIMIZERS, WEIGHT_FORMATS, Optimizer, WeightFormat, weight_words
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
    "Made by scripts/peak_grid.py, resumable, from {results}. CPU, {precisions}, batch 8, random weights and",
    "small images. Error: the planner's prediction over the peak of two real steps and an evaluation, before",
    "verification; the last column counts verified plans whose measured peak lay above what was then promised.",
    "",
)
ADAPTERS = ("bias", "bias,prompt", "side", "lora", "lora-lite", "full")
# Of the way from the smallest budget to what the exact plan of the whole batch needs.
SHARES = (0.0, 0.25, 0.7)
BATCH = 8
BROKEN = ("RuntimeError", "ValueError")

Row = dict[str, Any]


class Case(NamedTuple):
    """A model and what of its training changes the peak."""

    model: str
    adapter: str
    precision: str = "fp32"
    weight_format: WeightFormat = "float"
    optimizer: Optimizer = "adamw"

    @classmethod
    def of(cls, row: Row) -> Case:
        """The case that a row is of."""
        return cls(**{name: row[name] for name in cls._fields if name in row})

    @property
    def training(self) -> str:
        """`lora in bf16 with int8 weights, adamw8bit`, without what is usual."""
        precision = "" if self.precision == "fp32" else f" in {self.precision}"
        optimizer = "" if self.optimizer == "adamw" else f", {self.optimizer}"
        return f"{self.adapter}{precision}{weight_words(self.weight_format)}{optimizer}"


def main() -> None:
    """Runs what is missing of the grid and prints its summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("peak_grid.jsonl"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--adapters", default=" ".join(ADAPTERS), help="sets separated by spaces")
    parser.add_argument("--size", type=int, help="image size for models that are not in the list")
    parser.add_argument("--precisions", default="fp32")
    parser.add_argument("--weights", default="float", help=f"of {','.join(WEIGHT_FORMATS)}")
    parser.add_argument("--optimizers", default="adamw", help=f"of {','.join(OPTIMIZERS)}")
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--table", type=Path, help="write the table in Markdown")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    rows = read(given.output)
    known = finished(rows)
    console = Console()
    for case in cases(given):
        if case in known or time.monotonic() > until:
            continue
        for row in configuration(case, given.size):
            rows.append(row)
            with given.output.open("a") as file:
                file.write(json.dumps(row) + "\n")
            console.print(line_of(row), highlight=False)
    console.print(summary(rows))
    if given.table:
        given.table.write_text(markdown(rows, given.output.name))


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """Every combination that was asked for; without those of coded weights where no weight is frozen."""
    parts = (given.models, None, given.precisions, given.weights, given.optimizers)
    for values in itertools.product(*(given.adapters.split() if part is None else part.split(",") for part in parts)):
        case = Case(*values)
        if case.weight_format == "float" or case.adapter != FULL:
            yield case


def read(path: Path) -> list[Row]:
    """The lines of earlier runs; of one that was cut off, the later ones."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    rows = [row for row in rows if not is_broken(row)]
    return list({(Case.of(row), row.get("share")): row for row in rows}.values())


def finished(rows: list[Row]) -> set[Case]:
    """Cases that have every budget, or were refused with a reason; what broke is run again."""
    number = Counter(Case.of(row) for row in rows if "share" in row)
    return {case for case, count in number.items() if count == len(SHARES)} | {
        Case.of(row) for row in rows if "share" not in row
    }


def is_broken(row: Row) -> bool:
    """Whether a row tells of an error that is nobody's refusal."""
    return str(row.get("refused", "")).startswith(BROKEN)


def configuration(case: Case, size: int | None) -> Iterator[Row]:
    """One case at every budget; one row with the reason where it cannot be made."""
    size = size or MODELS.get(case.model, (224, {}))[0]
    start = time.monotonic()
    try:
        model, measured_profile = profiled(case.model, case.adapter, case.precision, case.weight_format, size)
    except (S2AError, RuntimeError, ValueError) as error:
        yield {**case._asdict(), "refused": f"{type(error).__name__}: {error}"}
        return
    profile_s = time.monotonic() - start
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(BATCH, 3, size, size, generator=generator)
    labels = torch.randint(0, 10, (BATCH,), generator=generator)
    overhead = Overhead(optimizer=case.optimizer)
    for share, budget in budgets(measured_profile, overhead):
        made = plan(measured_profile, budget, BATCH, overhead=overhead, has_frontier=False)
        pairs = Path(tempfile.mkdtemp()) / "pairs.jsonl"
        verified, refused = None, ""
        try:
            verified = verify(model, made, images, labels, Replanner(measured_profile, overhead), pairs)
        except S2AError as error:
            refused = str(error)
        measured = recorded(pairs)[0].measured_bytes
        row: Row = {
            **case._asdict(), "size": size, "share": share,
            "budget": budget, "micro_batch": made.micro_batch, "predicted": made.predicted.peak_bytes,
            "measured": measured, "error": made.predicted.peak_bytes / measured - 1, "profile_s": round(profile_s, 1),
        }  # fmt: skip
        if verified is None:
            row["refused"] = refused
        else:
            row |= {"promised": verified.plan.predicted.peak_bytes, "verified": verified.measured_peak_bytes}
            row |= {"rounds": verified.rounds}
        yield row


@lru_cache(maxsize=1)
def profiled(
    model_name: str, adapter: str, precision: str, weight_format: WeightFormat, size: int
) -> tuple[nn.Module, Profile]:
    """The model with its adapter, and its profile, which serves every optimizer."""
    torch.manual_seed(0)
    model = load_model(model_name, "none", 10, **MODELS.get(model_name, (size, {}))[1])
    model = add_adapters(model, AdapterSpec.parse(adapter), size)
    narrow_weights(model, weight_format)
    return model, profile(
        model, size, 4, precision, name=model_name, adapter=adapter, has_baselines=False, sensitivity_s=0.0,
        refine_s=0.0,
    )  # fmt: skip


def budgets(measured: Profile, overhead: Overhead) -> Iterator[tuple[float, int]]:
    """Shares of the distance from the smallest budget to the exact plan's, with their bytes."""
    low = smallest_budget(measured, BATCH, overhead)
    high = plan(measured, 2**50, BATCH, overhead=overhead, has_frontier=False).predicted.peak_bytes
    for share in SHARES:
        yield share, int(low + share * max(high - low, 0))


def line_of(row: Row) -> str:
    """A row for people."""
    head = f"{row['model']:30s} {Case.of(row).training:12s}"
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
    for column in ("training", "models", "plans", "median", "worst over", "worst under", "under after verification"):
        table.add_column(column, justify="left" if column == "training" else "right")
    groups: dict[str, list[Row]] = {}
    for row in (row for row in rows if "measured" in row):
        groups.setdefault(Case.of(row).training, []).append(row)
    for training, members in (*groups.items(), ("all", [row for group in groups.values() for row in group])):
        errors = [row["error"] for row in members]
        verified = [row for row in members if "verified" in row]
        missed = sum(row["verified"] > min(row["promised"], row["budget"]) for row in verified)
        table.add_row(
            training, str(len({row["model"] for row in members})), str(len(members)),
            f"{100 * median(map(abs, errors)):.2f} %", f"{100 * max(errors):+.2f} %", f"{100 * min(errors):+.2f} %",
            f"{missed} of {len(verified)}",
        )  # fmt: skip
    return table


def markdown(rows: list[Row], results: str) -> str:
    """The summary and every plan of the grid as a page in Markdown. results: the name of the file of the rows."""
    precisions = ", ".join(dict.fromkeys(Case.of(row).precision for row in rows))
    head = [line.format(results=results, precisions=precisions) for line in HEAD]
    lines = [*head, *_summary_lines(rows), "", "## Every plan", ""]
    lines += [
        "| model | training | budget MiB | micro-batch | predicted MiB | measured MiB | error |",
        "|" + "---|" * 7,
    ]
    for r in rows:
        if "measured" in r:
            sizes = [f"{r[key] / 2**20:.2f}" for key in ("budget", "predicted", "measured")]
            lines.append(
                f"| {r['model']} {r['size']} px | {Case.of(r).training} | {sizes[0]} | {r['micro_batch']} "
                f"| {sizes[1]} | {sizes[2]} | {100 * r['error']:+.2f} % |"
            )
    refused = [f"- {r['model']}, {Case.of(r).training}: {r['refused']}" for r in rows if "measured" not in r]
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
