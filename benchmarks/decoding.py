"""`python -m benchmarks.decoding`: what decoding frozen weights costs a training step on a CPU, against bf16 weights.

Steps of the same plan are taken in turn, one of each weight format a round, and compared within the round, in seconds
of the processor on one thread: a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.compression import compress, discover, prepare_frozen_weights
from s2a_core.compression.discover import uniform_policy
from s2a_core.kernels import backend_name, enable_native
from s2a_core.models import load_model
from s2a_core.storage import WEIGHT_FORMATS, StoragePolicy

log = logging.getLogger("benchmarks.decoding")
MODEL, IMAGE_SIZE, BATCH, BITS, ROUNDS = "vit_small_patch16_224", 224, 8, 4, 15
ADAPTERS = ("bias", "lora-lite")
PLAIN, *CODED = WEIGHT_FORMATS


def seconds(adapter: str, batch: int, rounds: int) -> dict[str, list[float]]:
    """Weight format -> processor seconds of a step in each round; a round before them is not counted."""
    torch.manual_seed(0)
    plain = add_adapters(load_model(MODEL, None, num_classes=100), AdapterSpec.parse(adapter), IMAGE_SIZE).train()
    x, y = torch.randn(batch, 3, IMAGE_SIZE, IMAGE_SIZE), torch.arange(batch)
    policy = uniform_policy(discover(plain, x, "bf16"), BITS, recompute=True, chunk_samples=0, frozen_weights="bf16")
    models = {name: copy.deepcopy(plain) for name in WEIGHT_FORMATS}
    for name, model in models.items():
        prepare_frozen_weights(model, "bf16", name)
    times: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 1):
        for name, model in reversed(models.items()) if number % 2 else models.items():
            spent = _step(model, policy, x, y)
            times[name] += [spent] if number else []
    return times


def _step(model: nn.Module, policy: StoragePolicy, x: torch.Tensor, y: torch.Tensor) -> float:
    began = time.process_time()
    with torch.autocast("cpu", torch.bfloat16), compress(model, policy):
        loss = nn.functional.cross_entropy(model(x).float(), y)
    loss.backward()
    model.zero_grad(set_to_none=True)
    return time.process_time() - began


def ratios(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Weight format -> median over rounds of its step's time over that of bf16 weights."""
    plain = times[PLAIN]
    return {name: median(coded / other for coded, other in zip(times[name], plain, strict=True)) for name in CODED}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """An adapter and batch a row."""
    lines = ["| adapter | batch | rounds | bf16 weights, s | " + " | ".join(f"{name} / bf16" for name in CODED) + " |"]
    lines.append("|---|" + "--:|" * (3 + len(CODED)))
    for row in rows:
        cells = [f"{median(row['seconds'][PLAIN]):.2f}", *(f"{ratio:.2f}" for ratio in ratios(row["seconds"]).values())]
        rounds = len(row["seconds"][PLAIN])
        lines.append(f"| {row['adapter']} | {row['batch']} | {rounds} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__)
    parser.add_argument("--adapter", nargs="*", choices=ADAPTERS, default=list(ADAPTERS))
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, default=Path("docs/bench/decoding.json"))
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    enable_native()
    rows = json.loads(options.output.read_text())["rows"] if options.output.exists() else []  # a run a row
    for adapter in options.adapter:
        rows.append({"adapter": adapter, "batch": options.batch})
        rows[-1]["seconds"] = seconds(adapter, options.batch, options.rounds)
        log.info("%s: %s", adapter, ratios(rows[-1]["seconds"]))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    kernels = backend_name(torch.device("cpu"))
    document = {"model": MODEL, "torch": torch.__version__, "kernels": kernels, "rows": rows}
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(HEADING + markdown(rows))
    return 0


HEADING = f"""# What decoding weights costs

Processor seconds of a training step of {MODEL} at {IMAGE_SIZE} px on one thread of a CPU, native kernels, bf16
autocast; regions rebuilt from {BITS}-bit codes, whole. Coded weights over bf16 ones: the median over the rounds,
in each of which one step of each was taken, in alternating order. A row is a run of `python -m benchmarks.decoding`
on a shared machine, whose other work is in the figures.

"""


if __name__ == "__main__":
    sys.exit(main())
