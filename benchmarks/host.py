"""`python -m benchmarks.host`: what a step costs the host, in CPU time and launches, against stock and checkpointing.

On a CUDA device, or on `tests/fakegpu`, whose kernels take no time: there the process's CPU time is the host's alone.
Every step is measured in turn with a stock one; ratios are medians of pairs. Beside uniform storages there are real
plans (see `benchmarks/host_plans.py`). Writes docs/bench/host.json and host.md, and with all models and the default
output the README's table. Each model has a process of its own.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from benchmarks.contestants import Runner, bias, checkpointed
from benchmarks.host_plans import SHARES, SMALLEST, Plans, peak_bytes, planned_step
from benchmarks.ours import policy
from s2a_core.compression import compress
from s2a_core.storage import Storage, StoragePolicy, whole_of
from tests.fakegpu.double import own_use

log = logging.getLogger("benchmarks.host")
MODELS = ("vit_base_patch16_224", "swin_tiny_patch4_window7_224", "convnext_tiny", "resnet50")
BATCH, CLASSES, SIZE, REPEATS, WARM_UP = 64, 100, 224, 15, 3
# At 64 images stock's backward fails (see s2a_core/operators/stock.py); the host's time does not depend on the batch.
SMALLER = {"swin_tiny_patch4_window7_224": 16, "convnext_tiny": 16}
BITS = 4
README, BEGIN, END = Path("README.md"), "<!-- host:begin -->\n", "<!-- host:end -->\n"
SHOWN = ("stock", "checkpointing", "exact", "codes", "blocks, chunks of all", *SHARES, SMALLEST)  # in the README
Step = Callable[[], None]


def contestants(name: str, device: str, chunks: tuple[int, ...]) -> dict[str, Step]:
    """Steps of one model by name; stock and checkpointing first."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES)
    example = torch.randn(2, 3, SIZE, SIZE)
    batch = SMALLER.get(name, BATCH)
    x = torch.randn(batch, 3, SIZE, SIZE).to(device)
    y = torch.randint(0, CLASSES, (batch,)).to(device)
    stock = bias(copy.deepcopy(model), example)
    policies: dict[str, StoragePolicy] = {}
    for whole in ("codes", "region", "block"):
        of = policy(stock.model, example.to(torch.bfloat16), BITS, whole) if whole == "codes" else None
        for chunk in (0,) if of is not None else chunks:
            chosen = of or policy(stock.model, example.to(torch.bfloat16), BITS, whole)
            label = whole if whole == "codes" else f"{whole}s, chunks of {chunk or 'all'}"
            policies[label] = StoragePolicy(chosen.sites, Storage.EXACT, chunk, "bf16")
    unused = {site: s for site, s in policies["codes"].sites.items() if whole_of(site)}  # as a plan has them
    policies = {"exact": StoragePolicy(unused, Storage.EXACT, frozen_weights="bf16"), **policies}
    steps = {"stock": step_of(stock, x, y)}
    steps["checkpointing"] = step_of(checkpointed(bias)(copy.deepcopy(model), example), x, y)
    for label, chosen in policies.items():
        steps[label] = step_of(under(bias(copy.deepcopy(model), example).model.to(device), chosen), x, y)
    return steps


def stock_bytes(name: str) -> int:
    """What a process of stock bias tuning holds of the device with BATCH images, by two batches where that fails."""

    def peak(batch: int) -> int:
        def make() -> Step:
            runner = bias(timm.create_model(name, num_classes=CLASSES), torch.randn(2, 3, SIZE, SIZE))
            x = torch.randn(batch, 3, SIZE, SIZE).to("cuda")
            return step_of(runner, x, torch.zeros(batch, dtype=torch.long, device="cuda"))

        return peak_bytes(make)

    if name not in SMALLER:
        return peak(BATCH)
    large = SMALLER[name]
    small = large // 2
    of_small, of_large = peak(small), peak(large)
    return of_large + (of_large - of_small) * (BATCH - large) // (large - small)


def rows_of(name: str, chunks: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    """Every step of one model. Its plans are made before anything else is on the device."""
    planned = Plans(name, BATCH, CLASSES, has_errors=not _is_double())
    plans = planned.within(stock_bytes(name))
    steps = contestants(name, "cuda", chunks)
    x = torch.randn(BATCH, 3, SIZE, SIZE).to("cuda")
    y = torch.randint(0, CLASSES, (BATCH,)).to("cuda")
    for _ in range(WARM_UP):
        steps["stock"]()
    rows = []
    for label, step in (steps | dict.fromkeys(plans)).items():
        row = {"model": name, "batch": SMALLER.get(name, BATCH), "step": label}
        if step is None:  # one after the other: they share the model
            chosen = plans[label]
            step, row["batch"] = planned_step(planned.model, chosen, x, y), BATCH
            row |= {
                "budget_mib": chosen.budget_bytes >> 20, "micro_batch": chosen.micro_batch,
                "chunk": chosen.chunk_samples, "predicted": round(chosen.predicted.relative_step_time, 2),
            }  # fmt: skip
        rows.append(row | measured(step, steps["stock"], repeats))
        log.info("%s", rows[-1])
    return rows


def under(model: nn.Module, chosen: StoragePolicy) -> Runner:
    """The model under one session that every step enters."""
    session = compress(model, chosen)

    def context() -> AbstractContextManager[object]:
        return session

    return Runner(model, context)


def step_of(runner: Runner, x: torch.Tensor, y: torch.Tensor) -> Step:
    """Forward under bf16 autocast and backward, of images x [B, 3, H, W] and labels y [B] on their device."""
    runner.model.to(x.device)

    def step() -> None:
        runner.model.zero_grad(set_to_none=True)
        with torch.autocast(x.device.type, torch.bfloat16), runner.around():
            logits = runner.model(x)
        nn.functional.cross_entropy(logits.float(), y).backward()

    return step


def _is_double() -> bool:
    return hasattr(ctypes.CDLL(None), "fake_gpu_process")


def counters() -> dict[str, int]:
    """Launches, synchronisations and copies so far, on the test double; nothing on a device."""
    if not _is_double():
        return {}
    use = own_use(torch.cuda.current_device())
    assert use is not None  # whoever measures has tensors there
    return {
        "launches": use.launches, "syncs": use.syncs, "to_host": use.copies_to_host, "to_device": use.copies_to_device,
    }  # fmt: skip


def measured(step: Step, stock: Step, repeats: int) -> dict[str, Any]:
    """CPU milliseconds of a step, its ratio to stock's in pairs, and its launches and waits."""
    for _ in range(WARM_UP):
        step()
    before = counters()
    step()
    counts = {name: value - before[name] for name, value in counters().items()}
    pairs = []
    for _ in range(repeats):
        pairs.append((_cpu_ms(step), _cpu_ms(stock)))
    ours = statistics.median(first for first, _ in pairs)
    return {"cpu_ms": round(ours, 1), "times_stock": round(statistics.median(a / b for a, b in pairs), 2), **counts}


def _cpu_ms(step: Step) -> float:
    began = time.process_time()
    step()
    torch.cuda.synchronize()
    return (time.process_time() - began) * 1e3


def document(rows: list[dict[str, Any]], device: str) -> str:
    """The table in Markdown."""
    lines = [
        "# The host's time of a step",
        "",
        f"Images of {SIZE} pixels, bias tuning, bf16 autocast, on {device}.",
        f"CPU time of the process, beside stock in pairs; codes, regions and blocks at {BITS} bits.",
        "Written by `python -m benchmarks.host`.",
        "",
        "",
        "Plans are for a half and a quarter of what stock holds of the device with 64 images, and the smallest; in",
        "brackets their budget in MiB, micro-batch and chunk. Stock's step is that of its own row, all images at once.",
        "",
        "| model | images | step | CPU ms | x stock | x checkpointing | launches | waits | copies |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        copies = row.get("to_host", 0) + row.get("to_device", 0)
        lines.append(
            f"| {row['model']} | {row['batch']} | {row['step']}{_cut(row)} | {row['cpu_ms']} | {row['times_stock']} "
            f"| {_times_checkpointing(rows, row):.2f} | {row.get('launches', '')} | {row.get('syncs', '')} | {copies} |"
        )
    return "\n".join(lines) + "\n"


def _cut(row: dict[str, Any]) -> str:
    return f" ({row['budget_mib']}: {row['micro_batch']}, {row['chunk']})" if "micro_batch" in row else ""


def _times_checkpointing(rows: list[dict[str, Any]], row: dict[str, Any]) -> float:
    """The ratio to stock's over checkpointing's ratio to stock's."""
    other = next(o for o in rows if o["model"] == row["model"] and o["step"] == "checkpointing")
    return float(row["times_stock"] / other["times_stock"])


def section(rows: list[dict[str, Any]], device: str) -> str:
    """The README's table: CPU time over stock's, and launches."""
    lines = [
        f"CPU time of a step over stock bias tuning's, and its launches in brackets, bf16 autocast, on {device}",
        f"(`python -m benchmarks.host`); codes and blocks at {BITS} bits; plans for a half and a quarter of what stock",
        f"holds with {BATCH} images, and the smallest:",
        "",
        f"| model, images | {' | '.join(SHOWN)} |",
        f"|---|{'--:|' * len(SHOWN)}",
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        of_step = {row["step"]: row for row in rows if row["model"] == model}
        cells = (f"{of_step[step]['times_stock']:.2f} ({of_step[step].get('launches', '-')})" for step in SHOWN)
        lines.append(f"| {model}, {of_step['stock']['batch']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def fill(readme: Path, text: str) -> None:
    """Puts the table between its markers. Raises ValueError where they are missing."""
    page = readme.read_text()
    if BEGIN not in page or END not in page:
        raise ValueError(f"{readme} has no {BEGIN.strip()} ... {END.strip()}")
    before, rest = page.split(BEGIN, 1)
    readme.write_text(f"{before}{BEGIN}{text}{END}{rest.split(END, 1)[1]}")


def _in_process(name: str, chunks: list[int], repeats: int) -> list[dict[str, Any]]:
    """`rows_of` in a process of its own. Raises CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory(prefix="host-") as folder:
        options = ["--repeats", str(repeats), "--output", folder, "--chunks", *map(str, chunks)]
        subprocess.run([sys.executable, "-m", "benchmarks.host", "--models", name, *options], check=True)
        rows: list[dict[str, Any]] = json.loads((Path(folder) / "host.json").read_text())["rows"]
    return rows


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 2 without a CUDA device."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.host", description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--chunks", nargs="*", type=int, default=[0, 16], help="samples a chunk; 0 is all")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--output", type=Path, default=Path("docs/bench"))
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        log.error("needs a CUDA device, or `python -m tests.fakegpu -- python -m benchmarks.host`")
        return 2
    if len(args.models) == 1:
        rows = rows_of(args.models[0], tuple(args.chunks), args.repeats)
    else:
        rows = [row for name in args.models for row in _in_process(name, args.chunks, args.repeats)]
    device = "a device without silicon" if _is_double() else torch.cuda.get_device_name()
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "host.json").write_text(json.dumps({"device": device, "rows": rows}, indent=1) + "\n")
    (args.output / "host.md").write_text(document(rows, device))
    if tuple(args.models) == MODELS and args.output == Path("docs/bench"):
        fill(README, section(rows, device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
