"""`python -m benchmarks.host`: what a step costs the host, in CPU time and launches, against stock and checkpointing.

On a CUDA device, or on `tests/fakegpu`, whose kernels take no time: there the process's CPU time is the host's alone.
Every step is measured in turn with a stock one; ratios are medians of pairs. Writes docs/bench/host.json and host.md,
and with all models and the default output the README's table.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from benchmarks.contestants import Runner, bias, checkpointed
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
SHOWN = ("stock", "checkpointing", "exact", "codes", "blocks, chunks of all")  # in the README
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


def counters() -> dict[str, int]:
    """Launches, synchronisations and copies so far, on the test double; nothing on a device."""
    if not hasattr(ctypes.CDLL(None), "fake_gpu_process"):
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
        "| model | images | step | CPU ms | x stock | x checkpointing | launches | waits | copies |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        copies = row.get("to_host", 0) + row.get("to_device", 0)
        lines.append(
            f"| {row['model']} | {row['batch']} | {row['step']} | {row['cpu_ms']} | {row['times_stock']} "
            f"| {_times_checkpointing(rows, row):.2f} | {row.get('launches', '')} | {row.get('syncs', '')} | {copies} |"
        )
    return "\n".join(lines) + "\n"


def _times_checkpointing(rows: list[dict[str, Any]], row: dict[str, Any]) -> float:
    """The ratio to stock's over checkpointing's ratio to stock's."""
    other = next(o for o in rows if o["model"] == row["model"] and o["step"] == "checkpointing")
    return float(row["times_stock"] / other["times_stock"])


def section(rows: list[dict[str, Any]], device: str) -> str:
    """The README's table: CPU time over stock's, and launches."""
    lines = [
        f"CPU time of a step over stock bias tuning's, and its launches in brackets, bf16 autocast, on {device}",
        f"(`python -m benchmarks.host`); codes and blocks at {BITS} bits:",
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
    rows = []
    for name in args.models:
        steps = contestants(name, "cuda", tuple(args.chunks))
        for _ in range(WARM_UP):
            steps["stock"]()
        for label, step in steps.items():
            row = {
                "model": name,
                "batch": SMALLER.get(name, BATCH),
                "step": label,
                **measured(step, steps["stock"], args.repeats),
            }
            log.info("%s", row)
            rows.append(row)
    device = "a device without silicon" if counters() else torch.cuda.get_device_name()
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "host.json").write_text(json.dumps({"device": device, "rows": rows}, indent=1) + "\n")
    (args.output / "host.md").write_text(document(rows, device))
    if tuple(args.models) == MODELS and args.output == Path("docs/bench"):
        fill(README, section(rows, device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
