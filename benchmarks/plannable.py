"""`python -m benchmarks.plannable`: one model of every timm family through plan, verify and one epoch.

Each is asked for a third of what full fine-tuning takes, with random weights and generated photos. The run must end
inside that budget or be refused with the reason (S2AError of a budget or of input); anything else is a failure.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image

from benchmarks.checkout import commit
from benchmarks.families import SMALLEST
from s2a_core.errors import InfeasibleBudget, InvalidInput
from s2a_core.image_sizes import own_size, size_arguments
from s2a_core.pipeline import run
from s2a_core.requests import RunRequest

log = logging.getLogger("benchmarks.plannable")
SHARE_OF_FULL = 3
BATCH, CLASSES, IMAGES_PER_CLASS = 8, 3, 8
# Small, fast and different: with every test run.
OFTEN = ("test_vit", "test_resnet", "test_convnext")


@dataclasses.dataclass(frozen=True)
class Run:
    """One model. refused: why s2a said no; failure: what it must not do; commit: of the code that was measured.

    plan_s: processor seconds to a plan for that budget or a refusal, every candidate built and profiled.
    """

    model: str
    family: str
    image_size: int | None = None
    full_bytes: int = 0
    budget_bytes: int = 0
    planned_bytes: int = 0
    measured_bytes: int = 0
    adapter: str = ""
    plan_s: float = 0.0
    refused: str = ""
    failure: str = ""
    commit: str = ""

    @property
    def is_good(self) -> bool:
        """Refused in words, or trained inside its budget."""
        return not self.failure and (bool(self.refused) or 0 < self.measured_bytes <= self.budget_bytes)


class _Planned(Exception):
    """Ends a run once its plan is known."""


def check(name: str, image_size: int | None = None) -> Run:
    """The row of one model, at `image_size` where timm builds it for that, else at its own size."""
    family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
    size = own_size(name)
    if image_size is not None:
        try:
            size_arguments(name, image_size)
            size = image_size
        except InvalidInput:
            log.info("%s takes its own size only", name)
    row = Run(name, family, size)
    try:
        with tempfile.TemporaryDirectory() as work:
            return _checked(row, Path(work))
    except (InfeasibleBudget, InvalidInput) as error:
        return dataclasses.replace(row, refused=str(error)[:300])
    except Exception as error:  # the table is about every model: a failing one is a row
        return dataclasses.replace(row, failure=f"{type(error).__name__}: {str(error)[:300]}")


def _checked(row: Run, work: Path) -> Run:
    write_photos(work / "photos", row.image_size or 224)
    request = RunRequest(
        model=row.model,
        data=str(work / "photos"),
        budget_bytes=2**50,
        output=work / "out",
        weights="none",
        batch_size=BATCH,
        epochs=1,
        image_size=row.image_size,
        device="cpu",
        profile_cache=work / "profiles",
    )
    plans: list[Mapping[str, Any]] = []
    began = [time.process_time()]

    def follow(event: Mapping[str, Any]) -> None:
        if event["type"] == "plan":
            began.append(time.process_time())
            plans.append(event["plan"])
            if request.budget_bytes == 2**50:
                raise _Planned

    with contextlib.suppress(_Planned):
        run(request, follow)
    full = {b["name"]: int(b["peak_bytes"]) for b in plans[-1]["baselines"]}["full"]
    row = dataclasses.replace(row, full_bytes=full, budget_bytes=full // SHARE_OF_FULL)
    request = dataclasses.replace(request, budget_bytes=row.budget_bytes)
    try:
        report = run(request, follow)
    except InfeasibleBudget as error:
        return dataclasses.replace(row, refused=str(error)[:300], plan_s=round(time.process_time() - began[0], 1))
    return dataclasses.replace(
        row,
        planned_bytes=int(plans[-1]["predicted"]["peak_bytes"]),
        measured_bytes=int(report["measured_peak_bytes"]),
        adapter=str(plans[-1]["adapter"]),
        plan_s=round(began[2] - began[0], 1),
    )


def write_photos(folder: Path, size: int) -> None:
    """Classes of coloured discs on noise, which differ in hue: DIR/CLASS/NUMBER.jpg."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:size, 0:size]
    for label in range(CLASSES):
        directory = folder / f"class{label}"
        directory.mkdir(parents=True)
        for number in range(IMAGES_PER_CLASS):
            pixels = generator.integers(0, 90, (size, size, 3), dtype=np.uint8)
            centre = generator.uniform(0.3, 0.7, 2) * size
            disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (size / 4) ** 2
            pixels[disc, label] = 220
            Image.fromarray(pixels).save(directory / f"{number}.jpg")


def table(rows: Sequence[Run]) -> str:
    """The rows as Markdown."""
    lines = [
        "# Plans for timm families",
        "",
        f"{len(rows)} of {len(SMALLEST)} families: a plan for a third of what full fine-tuning takes, verified, and",
        "one epoch, at 96 pixels where timm builds the model for them (`--image-size 96`).",
        "",
        f"Made by `python -m benchmarks.plannable`: batch {BATCH}, random weights, CPU; MiB of tensors alive.",
        "s: processor seconds from nothing to a plan for that budget, or its refusal, beside other work. A run of one",
        "epoch never holds the copy of its best weights beside a step, which is planned for: measured is less by that.",
        f"Measured on {' and '.join(sorted({row.commit for row in rows}))}.",
        "",
        "| family | model | px | s | full | budget | adapter | planned | measured | result |",
        "|---|---|--:|--:|--:|--:|---|--:|--:|---|",
    ]
    for r in rows:
        numbers = [f"{value / 2**20:.1f}" if value else "-" for value in (r.full_bytes, r.budget_bytes)]
        ran = [f"{value / 2**20:.1f}" if value else "-" for value in (r.planned_bytes, r.measured_bytes)]
        result = (f"FAILED: {r.failure}" if r.failure else f"refused: {r.refused}" if r.refused else "inside").replace(
            "|", "/"
        )
        if not r.failure and not r.is_good:
            result = "ABOVE its budget"
        lines.append(
            f"| {r.family} | {r.model} | {r.image_size} | {r.plan_s:.0f} | {' | '.join(numbers)} | {r.adapter or '-'} "
            f"| {' | '.join(ran)} | {result} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if every model is good. Rows in the result file are kept; named models are run again."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plannable", description=__doc__)
    parser.add_argument("models", nargs="*", help="timm names (default: one of every family that the file lacks)")
    parser.add_argument("--image-size", type=int, help="where timm builds the model for it; else its own")
    parser.add_argument("--output", type=Path, default=Path("docs/bench/plannable.json"))
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    known = json.loads(args.output.read_text())["models"] if args.output.exists() else {}
    checkout = commit()
    for name in args.models or [name for name in SMALLEST.values() if name not in known]:
        row = check(name, args.image_size)
        log.info("%-36s %s", name, row.failure or row.refused or ("inside" if row.is_good else f"above: {row}"))
        known[name] = dataclasses.asdict(dataclasses.replace(row, commit=checkout))
        document = {"torch": torch.__version__, "timm": timm.__version__, "batch": BATCH, "models": known}
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(document, indent=1) + "\n")
    rows = [Run(**known[name]) for name in sorted(known, key=lambda name: known[name]["family"])]
    args.output.with_suffix(".md").write_text(table(rows))
    good = sum(row.is_good for row in rows)
    log.info("%d of %d models are good", good, len(rows))
    return 0 if good == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
