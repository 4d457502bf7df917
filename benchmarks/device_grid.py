"""`python -m benchmarks.device_grid`: trainings on CUDA devices without silicon, promised beside held.

Every case is a process of its own: `run` on generated images, within a budget that is roomy, halfway or the smallest
that the roomy plan names, and 2 % below that, which must be refused. The device's own count is the truth. Resumable.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.checkout import commit
from s2a_core.adapters.spec import FULL
from s2a_core.sizes import MIB
from s2a_core.storage import AS_NEEDED, OPTIMIZERS, WEIGHT_FORMATS, weight_words
from tests.fakegpu.build import missing
from tests.fakegpu.double import CONTEXTS_MIB, FakeDevices

log = logging.getLogger("benchmarks.device_grid")
MODELS = (
    "vit_tiny_patch16_224", "resnet18", "mobilenetv2_100", "convnext_atto", "swin_tiny_patch4_window7_224",
    "mixer_s16_224", "efficientnet_b0", "mobilevit_s", "vit_small_patch16_224", "resnet50", "levit_128s",
    "convnext_tiny", "mobilenetv3_large_100", "coatnet_0_rw_224",
)  # fmt: skip
ADAPTERS = ("bias", "auto", "lora", "full")
BUDGETS = ROOMY, SMALLEST, BELOW, HALFWAY = "roomy", "smallest", "2 % below", "halfway"
BATCH_SIZE, ROOMY_MIB, TIMEOUT_S = 32, 8192, 1800.0
REFUSED = ("infeasible_budget",)

CASE = """
import json, sys
from pathlib import Path
from s2a_core import pipeline
from s2a_core.device import device_memory
from s2a_core.errors import S2AError
from s2a_core.planner import Planner
from s2a_core.planning import Plan
from s2a_core.profiling.measure import profile

profile.__kwdefaults__["sensitivity_s"] = 0  # every gradient is zero here: nominal errors, no time spent on real ones
model, adapter, weight_format, optimizer, budget, data, output, batch, cache = sys.argv[1:]
request = pipeline.RunRequest(
    model, data=data, budget_bytes=int(budget), output=Path(output), weights="none", adapter=adapter, device="cuda",
    epochs=1, batch_size=int(batch), profile_cache=Path(cache) if cache else None, weight_format=weight_format,
    optimizer=optimizer,
)
try:
    report = pipeline.run(request)
    document = json.loads((Path(output) / "plan.json").read_text())
    if cache:
        document = Planner(request).with_smallest(Plan.from_json(document)).to_json()
    answer = {
        "status": "trained", "adapter_used": document["adapter"], "micro_batch": document["micro_batch"],
        "weight_format": document["weight_format"], "predicted_bytes": document["predicted"]["peak_bytes"],
        "measured_bytes": report["measured_peak_bytes"], "smallest_bytes": document["min_feasible_budget_bytes"],
        "breakdown": document["predicted"]["breakdown"], "code_bytes": device_memory("cuda").code_bytes(),
    }
except S2AError as error:
    smallest = error.details.get("min_feasible_budget_bytes")
    answer = {
        "status": error.code, "message": error.message, "smallest_bytes": smallest,
        "is_estimate": error.details.get("is_estimate"),
    }
print(json.dumps(answer))
"""


def run_case(case: Mapping[str, Any], budget_name: str, budget_bytes: int, cache: Path) -> dict[str, Any]:
    """One training; the row with what the device counted. case: see `combinations`; cache: of the profiles of this
    model on such a device.

    The smallest budget has to take profiling too, so there nothing is read from the cache.
    """
    with tempfile.TemporaryDirectory(prefix="device-grid-") as folder:
        devices = FakeDevices(device_mib=16384, context_mib=case["context_mib"], directory=Path(folder))
        data = images(cache.parent / "images")
        outcome = devices.python(
            CASE, case["model"], case["adapter"], case.get("weights", AS_NEEDED), case.get("optimizer", OPTIMIZERS[0]),
            str(budget_bytes), data, Path(folder) / "out", str(BATCH_SIZE),
            "" if budget_name == SMALLEST else cache, timeout_s=TIMEOUT_S,
        )  # fmt: skip
    row = {**case, "budget": budget_name}
    if outcome.returncode:
        return {**row, "budget_bytes": budget_bytes, "status": "crashed", "message": outcome.stderr[-2000:]}
    return {**row, "budget_bytes": budget_bytes, **outcome.document, "held_bytes": outcome.use.peak_bytes}


def cases_of(known: Mapping[str, Any], names: Sequence[str] = BUDGETS) -> Iterator[tuple[str, int]]:
    """(name, bytes) of the budgets, each as soon as the rows it follows from are there. known: name -> row."""
    yield ROOMY, ROOMY_MIB * MIB
    roomy = known[ROOMY]
    smallest = roomy.get("smallest_bytes")
    if roomy["status"] == "trained" and smallest:
        halfway = (smallest + min(roomy["predicted_bytes"], roomy["budget_bytes"])) // 2
        sizes = {SMALLEST: smallest, BELOW: int(0.98 * smallest), HALFWAY: halfway}
        yield from ((name, size) for name, size in sizes.items() if name in names)


def combinations(
    models: Sequence[str], trainings: Sequence[Mapping[str, str]], contexts: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """The cases: each model with each training (an adapter, and what else is said), contexts in rotation.

    In rounds of one case for each model, so that a part of the grid has every model and training in it.
    """
    for shift in range(len(trainings)):
        for number, model in enumerate(models, shift):
            context_mib = contexts[number % len(contexts)]
            yield {"model": model, **trainings[number % len(trainings)], "context_mib": context_mib}


def trainings_of(
    adapters: Sequence[str], formats: Sequence[str], optimizers: Sequence[str]
) -> Iterator[dict[str, str]]:
    """Each adapter with each format of frozen weights, of which `full` has none, and optimizer; the usual unsaid."""
    usual = {"weights": AS_NEEDED, "optimizer": OPTIMIZERS[0]}
    for adapter, weights, optimizer in itertools.product(adapters, formats, optimizers):
        if weights == formats[0] or adapter != FULL:
            others = {"weights": AS_NEEDED if adapter == FULL else weights, "optimizer": optimizer}
            yield {"adapter": adapter, **{name: value for name, value in others.items() if value != usual[name]}}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows and their summary as Markdown."""
    trained = [row for row in rows if row["status"] == "trained"]
    lines = [
        "# Budgets on CUDA, on devices without silicon",
        "",
        "Written by `python -m benchmarks.device_grid`. Nothing here ran on a GPU: PyTorch's own caching allocator, "
        "every CUDA path of Python and Triton's compiler ran over a driver that only counts (`tests/fakegpu`). `held` "
        "is the most that the process held of the device at any moment of its life, by that driver's count; `promised` "
        f"is the verified plan's. One epoch of 16 images, batches of {BATCH_SIZE}, bf16, kernels of 64 KiB; errors of "
        "codes are nominal, as values are zeros there. The rows are all the cases that were run: "
        f"{', '.join(f'{count} on {name}' for name, count in Counter(row['commit'] for row in rows).items())}.",
        "",
    ]
    if trained:
        errors = sorted(abs(row["held_bytes"] / row["predicted_bytes"] - 1) for row in trained)
        over = sum(row["held_bytes"] > row["budget_bytes"] for row in trained)
        under = sum(row["held_bytes"] > row["predicted_bytes"] for row in trained)
        lowest = [row for row in rows if row["budget"] == SMALLEST]
        below = [row for row in rows if row["budget"] == BELOW]
        lines += [
            f"{len(trained)} trainings of {len({row['model'] for row in rows})} models: {over} held more than the "
            f"budget, {under} more than was promised. |held / promised - 1|: median {statistics.median(errors):.2%}, "
            f"worst {errors[-1]:.2%}. Of {len(lowest)} smallest budgets "
            f"{sum(r['status'] == 'trained' for r in lowest)} trained; "
            f"of {len(below)} that are 2 % smaller {sum(r['status'] in REFUSED for r in below)} were refused.",
            "",
        ]
    lines += [
        "| model | adapter | context | budget | MiB | promised | held | ended |",
        "|---|---|--:|---|--:|--:|--:|---|",
    ]
    for row in rows:
        sizes = [f"{row[key] / MIB:,.0f}" if row.get(key) else "" for key in ("predicted_bytes", "held_bytes")]
        lines.append(
            f"| {row['model']} | {_training(row)} | {row['context_mib']} | {row['budget']} "
            f"| {row['budget_bytes'] / MIB:,.0f} | {sizes[0]} | {sizes[1]} | {row['status'].replace('_', ' ')} |"
        )
    return "\n".join(lines) + "\n"


def _case_of(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("model", "adapter", "weights", "optimizer", "context_mib")
    return {name: row[name] for name in names if name in row}


def _training(row: Mapping[str, Any]) -> str:
    """`lora with nf4 weights, adamw8bit`; what is the plan's choice is not said."""
    optimizer = f", {row['optimizer']}" if "optimizer" in row else ""
    return f"{row.get('adapter_used') or row['adapter']}{weight_words(row.get('weights'))}{optimizer}"


def images(folder: Path) -> Path:
    """The folder with a data set of two classes in it: 16 images to train on and 8 to evaluate with."""
    for split, count in (("train", 8), ("val", 4)):
        for number, name in enumerate(("dark", "light")):
            place = folder / split / name
            place.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                Image.new("RGB", (64, 64), (60 + 120 * number, 10 * index, 90)).save(place / f"{index}.png")
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 when every case that was wanted is in the file, 1 where one took too long, 2 where the double
    cannot be built.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_grid", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/device/results.jsonl"))
    parser.add_argument("--table", type=Path, default=Path("docs/device/README.md"))
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--adapters", nargs="*", default=ADAPTERS)
    parser.add_argument("--weights", nargs="*", default=(AS_NEEDED,), choices=(AS_NEEDED, *WEIGHT_FORMATS))
    parser.add_argument("--optimizers", nargs="*", default=OPTIMIZERS[:1], choices=OPTIMIZERS)
    parser.add_argument("--contexts", nargs="*", type=int, default=CONTEXTS_MIB)
    parser.add_argument("--budgets", nargs="*", default=BUDGETS, choices=BUDGETS)
    parser.add_argument("--profiles", type=Path, default=Path(tempfile.gettempdir()) / "s2a-device-grid")
    options = parser.parse_args(argv)
    if reason := missing():
        log.error(reason)
        return 2
    rows = [json.loads(line) for line in options.output.read_text().splitlines()] if options.output.exists() else []
    options.output.parent.mkdir(parents=True, exist_ok=True)
    checkout, status = commit(), 0
    trainings = list(trainings_of(options.adapters, options.weights, options.optimizers))
    for case in combinations(options.models, trainings, options.contexts):
        known = {row["budget"]: row for row in rows if _case_of(row) == case}
        cache = options.profiles / checkout / f"{case['context_mib']}"
        for name, budget_bytes in cases_of(known, options.budgets):
            if name in known:
                continue
            try:
                known[name] = run_case(case, name, budget_bytes, cache) | {"commit": checkout}
            except subprocess.TimeoutExpired:
                log.error("%s, %s: not done in %.0f s; run this again", case, name, TIMEOUT_S)
                status = 1
                break
            rows.append(known[name])
            log.info("%s", known[name])
            with options.output.open("a") as file:
                file.write(json.dumps(known[name]) + "\n")
            options.table.write_text(table(rows))
    return status


if __name__ == "__main__":
    sys.exit(main())
