"""`python -m benchmarks.export`: one model of every timm family at another image size, exported and loaded by timm.

Weights of the model's own size (random, seed 0) are loaded for the other size by s2a and by timm, which resamples them
with the model's own filter; the classifier is changed, the model exported, and the line that `s2a export` prints is run
as it stands. Both pairs of logits must be equal. A model that s2a refuses is listed with the reason.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.families import SMALLEST
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.errors import InvalidInput
from s2a_core.image_sizes import own_size, size_arguments
from s2a_core.inference import export_run
from s2a_core.inference.load import LoadedRun
from s2a_core.models import load_model

log = logging.getLogger("benchmarks.export")
CLASSES = tuple("abcde")
# Smaller than most models' own size, so that a row costs little; the first that timm builds the model for.
SIZES = (96, 128, 112, 160, 192, 256, 288, 320)
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Exported:
    """One model. Differences are of the largest logit; resampled: None where timm cannot resample these weights."""

    model: str
    family: str
    own_size: int | None = None
    image_size: int | None = None
    resampled: float | None = None
    exported: float | None = None
    line: str = ""
    reason: str = ""
    failure: str = ""

    @property
    def is_good(self) -> bool:
        """Both differences are rounding, or the family takes one size only."""
        if self.failure or (self.image_size is None and not self.reason):
            return False
        return all(value is None or value <= TOLERANCE for value in (self.resampled, self.exported))


def check(name: str) -> Exported:
    """The row of one model. A failure is part of the result, not an exception."""
    family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    row = Exported(name, family, own_size(name))
    size, reason = other_size(name)
    if size is None:
        return dataclasses.replace(row, reason=reason)
    row = dataclasses.replace(row, image_size=size)
    try:
        with tempfile.TemporaryDirectory() as work:
            return _checked(row, name, size, Path(work))
    except InvalidInput as error:  # s2a says no before training
        return dataclasses.replace(row, image_size=None, reason=str(error))
    except Exception as error:  # the table is about every model: a failing one is a row
        return dataclasses.replace(row, failure=f"{type(error).__name__}: {str(error)[:300]}")


def other_size(name: str) -> tuple[int | None, str]:
    """(a size other than the model's own that timm builds it for, why there is none)."""
    reason = ""
    for size in SIZES:
        if size != own_size(name):
            try:
                size_arguments(name, size)
            except InvalidInput as error:
                reason = reason or str(error)
            else:
                return size, ""
    return None, reason


@torch.no_grad()
def _checked(row: Exported, name: str, size: int, work: Path) -> Exported:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    state = {key: value.contiguous() for key, value in timm.create_model(name, num_classes=5).state_dict().items()}
    weights = work / "own.safetensors"
    save_file({key: value.clone() for key, value in state.items()}, str(weights))
    overlay = {"state_dict": state, "num_classes": 5, "label_offset": 0, "custom_load": False}
    arguments: dict[str, Any] = {"num_classes": 5, "pretrained": True, "pretrained_cfg_overlay": overlay}
    try:
        expected = timm.create_model(name, **arguments, **size_arguments(name, size)).eval()(images)
    except RuntimeError as error:
        if "size mismatch" not in str(error):
            raise
        model = load_model(name, "none", 5, size)
    else:
        model = load_model(name, weights, 5, size)
        row = dataclasses.replace(row, resampled=difference(model(images), expected))
    model = add_adapters(model, AdapterSpec.parse("head"), size).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(0.01 * torch.randn_like(parameter))
    report = {"model": name, "classes": list(CLASSES), "image_size": size, "adapter": "head"}
    line = export_run(LoadedRun(work, model, report, {}, "cpu"), work / "model.safetensors")["load"]
    loaded: nn.Module = eval(line, {"timm": timm})  # what a user would run
    row = dataclasses.replace(row, line=line.replace(str(work), ""))
    return dataclasses.replace(row, exported=difference(loaded.eval()(images), model(images)))


def difference(actual: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


def table(rows: Iterable[Exported]) -> str:
    """The rows as Markdown."""
    lines = [
        "Made by `python -m benchmarks.export`: differences of logits, relative to the largest one.",
        "",
        "| family | model | own px | px | weights resampled: s2a against timm | exported: plain timm against the run |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for r in rows:
        start = f"| {r.family} | {r.model} | {r.own_size} |"
        if r.failure:
            lines.append(f"{start} {r.image_size} | failed: {r.failure.replace('|', '/')} | |")
        elif r.image_size is None:
            lines.append(f"{start} - | refused: {r.reason.split(';')[0].replace('|', '/')} | |")
        else:
            resampled = "timm has no resampling for it" if r.resampled is None else f"{r.resampled:.1e}"
            lines.append(f"{start} {r.image_size} | {resampled} | {r.exported:.1e} |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if every model is good. Rows in the result file are kept; named models are measured again."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("models", nargs="*", help="timm names (default: one of every family that the file lacks)")
    parser.add_argument("--output", type=Path, default=Path("docs/bench/export.json"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    known = json.loads(args.output.read_text())["models"] if args.output.exists() else {}
    for name in args.models or [name for name in SMALLEST.values() if name not in known]:
        row = check(name)
        log.info("%-36s %s", name, row.failure or ("good" if row.is_good else f"differs: {row}"))
        known[name] = dataclasses.asdict(row)
        document = {"torch": torch.__version__, "timm": timm.__version__, "models": known}
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(document, indent=1) + "\n")
    rows = [Exported(**known[name]) for name in sorted(known, key=lambda name: known[name]["family"])]
    args.output.with_suffix(".md").write_text(table(rows))
    good = sum(row.is_good for row in rows)
    log.info("%d of %d models are good", good, len(rows))
    return 0 if good == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
