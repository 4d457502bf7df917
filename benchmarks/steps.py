"""Step time on a CPU beside what it is judged by: `python -m benchmarks.steps`.

Codes only against stock bias tuning, chunked regions against stock bias tuning with per-block checkpointing, steps of
the four in turns so that load falls on all. Beside the wall time, the processor time, which other programs on the
machine hardly change; with `OMP_NUM_THREADS=1` it is the step's own. 1 if a median wall time is above its target.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import timm
import torch
from torch import Tensor, nn

from benchmarks import measure
from benchmarks.contestants import Runner, bias, checkpointed
from benchmarks.ours import CHUNK, uniform
from benchmarks.results import Spread

MODEL, BATCH, CLASSES = "vit_small_patch16_224", 8, 100


@dataclass(frozen=True)
class Pair:
    """One way of s2a and what it is compared with; target: of the median ratio of their step times.

    processor: the same ratio of the time that processors worked for it.
    """

    way: str
    reference: str
    target: float
    ratio: Spread
    processor: Spread
    reference_ms: float

    @property
    def is_met(self) -> bool:
        """Whether the median is at or below its target."""
        return self.ratio.median <= self.target


def pairs(name: str = MODEL, batch: int = BATCH, repeats: int = 9, size: int = 224) -> Iterator[Pair]:
    """Both comparisons, fp32."""
    x, y = measure.images(batch, size, CLASSES, torch.float32)

    def ready(build: Callable[[nn.Module, Tensor], Runner]) -> Runner:
        torch.manual_seed(0)
        runner = build(timm.create_model(name, num_classes=CLASSES, img_size=size), x)
        runner.step(x, y)
        return runner

    whole = f"regions 4 bit, chunks of {CHUNK}"
    cases = (
        ("codes 4 bit", uniform("", 4, "codes").build, "bias", bias, 1.3),
        ("codes 2 bit", uniform("", 2, "codes").build, "bias", bias, 1.3),
        (whole, uniform("", 4, "region").build, "bias + checkpointing", checkpointed(bias), 1.1),
    )
    for way, ours, reference, theirs, target in cases:
        runner, other = ready(ours), ready(theirs)
        turns = [(_step(runner, x, y), _step(other, x, y)) for _ in range(repeats)]
        wall, processor = (Spread.of([mine[i] / his[i] for mine, his in turns]) for i in (0, 1))
        yield Pair(way, reference, target, wall, processor, statistics.median(his[0] for _, his in turns) * 1e3)


def _step(runner: Runner, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Seconds of one step: wall, processor."""
    started = time.process_time()
    wall = measure.seconds(runner, x, y)
    return wall, time.process_time() - started


def main(arguments: list[str] | None = None) -> int:
    """Prints a line for each comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args(arguments)
    sys.stdout.write(f"{given.model}, fp32, batch {given.batch}, {torch.get_num_threads()} threads\n")
    all_met = True
    for pair in pairs(given.model, given.batch, given.repeats):
        wall, processor = (f"{s.median:.3f} ({s.low:.3f}..{s.high:.3f})" for s in (pair.ratio, pair.processor))
        sys.stdout.write(
            f"{pair.way:27} / {pair.reference:20}  wall {wall}  processor {processor}  target {pair.target} "
            f"{'met' if pair.is_met else 'MISSED'}  ({pair.reference_ms:.0f} ms)\n"
        )
        sys.stdout.flush()
        all_met &= pair.is_met
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
