"""`python -m benchmarks.largest`: the most images of SAM's encoder in one pass that fit a device, LoRA at 1024 px.

On devices without silicon (tests/fakegpu) of 12 and 24 GiB, context included: PyTorch's allocator says what fits. Every
contestant trains the same weights, has its frozen ones in bf16 and steps AdamW under bf16 autocast. `--plans`: s2a's
own plan for one image at the smallest budget that it takes, with verification's real steps, there and on the CPU here.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import logging
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import timm
import torch

from benchmarks.gpu import run_process, train_steps
from benchmarks.large import CASES, CHECKPOINTED, CLASSES, LORA, OURS, prepared
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.device import open_device, release_cached
from s2a_core.device.libraries import configure
from s2a_core.planning import plan
from s2a_core.planning.replan import Replanner
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling import profile
from s2a_core.profiling.measure import FEWEST
from s2a_core.sizes import MIB
from s2a_core.verify import verify

log = logging.getLogger("benchmarks.largest")
CASE = CASES["SAM-B"]
DEVICES_GIB = (12, 24)
OURS_PLAIN = next(iter(OURS))  # codes of weights would change little: they take 172 MiB
CONTESTANTS = (LORA, CHECKPOINTED, OURS_PLAIN)
MEASURED_BATCHES = (8, 12)  # tell where to look, if they fit
TIMEOUT_S = 4 * 3600  # a CPU takes most of an hour for the plan of one image
NUM_STEPS = 2  # from the second on AdamW's moments are there
ROOMY_BYTES = 2**50
PLAN_DEVICES, PLANNED_ADAPTER = ("cuda", "cpu"), "lora"


def largest(fits: Callable[[int], bool], guess: int) -> int:
    """The largest n for which fits(n), 0 where none does; fits is true up to it and false beyond. Asks near the guess
    first, at doubling distances, and then in halves.
    """
    fits = functools.cache(fits)
    low, high, step = max(1, guess), max(1, guess) + 1, 1
    while fits(low) and fits(high):
        low, high, step = high, high + 2 * step, 2 * step
    while low > 0 and not fits(low):
        low, high, step = max(0, low - step), low, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def measure(contestant: str) -> dict[str, Any]:
    """The largest batch of this device, and what it took."""
    configure(0)
    memory = open_device("cuda")
    assert memory is not None
    model, policy = prepared(CASE, contestant)
    taken: dict[int, int] = {}

    def fits(batch: int) -> bool:
        try:
            # Values are zeros there anyhow: random images would only take memory of the host.
            x = torch.zeros(batch, 3, CASE.image_size, CASE.image_size, device="cuda")
            y = torch.zeros(batch, dtype=torch.long, device="cuda")
            train_steps(model, policy, x, y, num_steps=NUM_STEPS)
            taken[batch] = torch.cuda.max_memory_reserved()
        except torch.OutOfMemoryError:
            pass
        finally:
            model.zero_grad(set_to_none=True)
            gc.collect()
            release_cached("cuda")
        log.info(
            "%s, %d: %s", contestant, batch, f"{taken[batch] / MIB:,.0f} MiB" if batch in taken else "out of memory"
        )
        return batch in taken

    guess = 1
    if all(map(fits, MEASURED_BATCHES)):
        first, second = MEASURED_BATCHES
        free_bytes = torch.cuda.mem_get_info()[0]
        guess = first + int((free_bytes - taken[first]) * (second - first) / (taken[second] - taken[first]))
    batch = largest(fits, guess)
    return {"contestant": contestant, "batch": batch, "reserved_bytes": taken.get(batch, 0)}


def planned(device: str) -> dict[str, Any]:
    """s2a's plan for one image: budget, the peaks it predicted and took, with those of other methods."""
    configure(0)
    memory = open_device(device)
    torch.manual_seed(0)
    model = timm.create_model(CASE.model, num_classes=CLASSES).to(device)
    model = add_adapters(model, AdapterSpec.parse(PLANNED_ADAPTER), CASE.image_size)
    profiled = profile(
        model, CASE.image_size, FEWEST, "bf16", name=CASE.model, adapter=PLANNED_ADAPTER, has_baselines=False,
        sensitivity_s=0, refine_s=0,
    )  # fmt: skip
    roomy = plan(profiled, ROOMY_BYTES, CASE.batch, has_frontier=False).predicted.peak_bytes
    budget = smallest_budget(profiled, CASE.batch)  # on CUDA at least what profiling one image takes
    if memory is not None:
        memory.limit(budget)
    x = torch.randn(CASE.batch, 3, CASE.image_size, CASE.image_size)
    chosen = plan(profiled, budget, CASE.batch, has_frontier=False)
    verified = verify(model, chosen, x, torch.zeros(CASE.batch, dtype=torch.long), Replanner(profiled))
    return {
        "device": device,
        "roomy_bytes": roomy,
        "budget_bytes": budget,
        "predicted_bytes": verified.predicted_peak_bytes,
        "measured_bytes": verified.measured_peak_bytes,
        "context_bytes": 0 if memory is None else memory.outside_bytes(),
        "resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def markdown(document: dict[str, list[dict[str, Any]]]) -> str:
    """Both tables."""
    batches = {(row["contestant"], row["device_gib"]): row for row in document["batches"]}
    lines = ["| | " + " | ".join(f"{gib} GiB" for gib in DEVICES_GIB) + " |", "|---|" + "--:|" * len(DEVICES_GIB)]
    for name in CONTESTANTS:
        cells = [str(batches[name, gib]["batch"]) if (name, gib) in batches else "not run" for gib in DEVICES_GIB]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    keys = ("budget_bytes", "predicted_bytes", "measured_bytes", "context_bytes", "roomy_bytes")
    plans = [
        "| one image on | smallest budget | predicted | measured | of it context | predicted, all exact |",
        "|---|" + "--:|" * len(keys),
        *(
            f"| {DEVICE_WORDS[row['device']]} | {' | '.join(f'{row[key] / MIB:,.0f}' for key in keys)} |"
            for row in document["plans"]
        ),
    ]
    return HEADING + "\n".join(lines) + "\n" + BETWEEN + "\n".join(plans) + "\n"


DEVICE_WORDS = {"cuda": "the device without silicon", "cpu": "the CPU: tensors alive"}
HEADING = f"""# SAM's image encoder, {CASE.image_size} px: the largest batch in one pass

`python -m benchmarks.largest`: {CASE.model}, images a pass that fit a device of so much memory, context included, by
PyTorch's own allocator on a device without silicon (tests/fakegpu): nothing here ran on a GPU. LoRA: peft, rank 2 on
the layers that widen; s2a: the same weights, each block rebuilt from 4-bit codes of its input, one image at a time.

"""
BETWEEN = f"""
One image, `{PLANNED_ADAPTER}` on every linear layer, bf16, at the smallest budget that s2a plans for, MiB; measured by
verification's real steps (`--plans`). On CUDA that budget is what profiling itself takes, which runs one image:

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0. Rows of the output stay where they are not measured again."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.largest", description=__doc__)
    parser.add_argument("--contestant", nargs="*", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--device-gib", nargs="*", type=int, choices=DEVICES_GIB, default=DEVICES_GIB)
    parser.add_argument("--plans", nargs="*", choices=PLAN_DEVICES, help="plans alone, on these (default both)")
    parser.add_argument("--here", action="store_true", help="measure in this process and print the row")
    parser.add_argument("--output", type=Path, default=Path("docs/bench/largest.json"))
    options = parser.parse_args(argv)
    if options.here:
        row = planned(options.plans[0]) if options.plans else measure(options.contestant[0])
        sys.stdout.write(json.dumps(row) + "\n")
        return 0
    document: dict[str, list[dict[str, Any]]] = {"batches": [], "plans": []}
    if options.output.exists():
        document = json.loads(options.output.read_text())
    if options.plans is None:
        for name in options.contestant:
            for gib in options.device_gib:
                row = _in_process(["--contestant", name], gib)
                others = [r for r in document["batches"] if (r["contestant"], r["device_gib"]) != (name, gib)]
                document["batches"] = [*others, {**row, "device_gib": gib}]
                _write(options.output, document)
    for device in options.plans or (PLAN_DEVICES if options.plans == [] else ()):
        row = _in_process(["--plans", device], max(DEVICES_GIB))
        document["plans"] = [*(r for r in document["plans"] if r["device"] != device), row]
        _write(options.output, document)
    return 0


def _in_process(arguments: Sequence[str], device_gib: int) -> dict[str, Any]:
    """The row that a process of its own prints, on a device without silicon. Raises RuntimeError where it fails."""
    command = [sys.executable, "-m", "benchmarks.largest", "--here", *arguments]
    done = run_process(command, is_on_double="cpu" not in arguments, device_mib=1024 * device_gib, timeout_s=TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    row: dict[str, Any] = json.loads(done.stdout)
    log.info("%s", row)
    return row


def _write(output: Path, document: dict[str, Any]) -> None:
    output.write_text(json.dumps(document, indent=1) + "\n")
    output.with_suffix(".md").write_text(markdown(document))


if __name__ == "__main__":
    sys.exit(main())
