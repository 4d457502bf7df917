"""`python -m benchmarks.gpu`: memory and step time on a CUDA device into one result file.

Not run on a GPU by whoever wrote it; without one it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import measure, suite
from benchmarks.contestants import DoesNotApply
from benchmarks.results import provenance

log = logging.getLogger("benchmarks.gpu")
CASE = suite.Case("vit_base_patch16_224", "bf16", batches=(32, 64))
SHOWN = ("full fine-tuning", "bias", "bias + checkpointing", "head only (linear probe)", "LoRA r8 (peft)")


def table(device: str, case: suite.Case, repeats: int) -> list[dict[str, Any]]:
    """Allocated, reserved and step time of each contestant at the larger batch, whole process, weights included."""
    model, _ = suite.create(case, {}, "cpu")
    batch = case.batches[1]
    x, y = measure.images(batch, case.image_size, suite.CLASSES, suite.DTYPES[case.precision], device)
    rows = []
    for contestant in suite.CONTESTANTS:
        if contestant.name not in SHOWN and contestant.kind != "s2a":
            continue
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        try:
            runner = measure.ready(contestant, model.to(device), x)
        except DoesNotApply:
            continue
        model.to("cpu")
        for _ in range(3):
            runner.step(x, y)
        torch.cuda.reset_peak_memory_stats()
        times = sorted(measure.seconds(runner, x, y) * 1e3 for _ in range(repeats))
        rows.append(
            {
                "contestant": contestant.name,
                "batch": batch,
                "allocated_bytes": torch.cuda.max_memory_allocated() - before + x.numel() * x.element_size(),
                "reserved_bytes": torch.cuda.max_memory_reserved(),
                "step_ms": times[len(times) // 2],
            }
        )
        log.info("%s", rows[-1])
        del runner
    return rows


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0, also without a device, unless --require-device; then 2."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--require-device", action="store_true", help="only check that a CUDA device is there")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--output", type=Path, default=Path("docs/bench/gpu.json"))
    args = parser.parse_args(argv)
    if not torch.cuda.is_available():
        log.error(
            "gpu-check: there is no GPU here (torch.cuda.is_available() is False), so nothing was measured and no GPU "
            "test ran. Run it on a machine with a CUDA device and its driver."
        )
        return 2 if args.require_device else 0
    if args.require_device:
        log.info("gpu-check: %s", torch.cuda.get_device_name())
        return 0
    result = {
        **provenance("make gpu-check", torch.cuda.get_device_name(), torch.get_num_threads()),
        "case": {"model": CASE.model, "precision": CASE.precision, "image_size": CASE.image_size},
        "rows": table("cuda", CASE, args.repeats),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    log.info("wrote %s", args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
