"""Memory and time as batch, image size and depth grow: straight lines where they should be."""

from __future__ import annotations

from collections.abc import Iterator

import timm
import torch
from torch import nn

from benchmarks import measure
from benchmarks.contestants import COMMON, Contestant
from benchmarks.ours import UNIFORM
from benchmarks.results import Curve
from s2a_core.meter import PeakMeter

MODEL = "deit_tiny_patch16_224"
BATCHES, SIZES, DEPTHS = (2, 4, 8, 12, 16), (96, 160, 224, 288), (3, 6, 9, 12)
SHOWN = ("full fine-tuning", "bias", "bias + checkpointing", "s2a bias, regions 4 bit")


def model_of(size: int, depth: int) -> nn.Module:
    """DeiT-Ti with another image size or depth, random weights."""
    torch.manual_seed(0)
    created: nn.Module = timm.create_model(MODEL, num_classes=100, img_size=size, depth=depth)
    return created


def curves(
    batches: tuple[int, ...] = BATCHES, sizes: tuple[int, ...] = SIZES, depths: tuple[int, ...] = DEPTHS
) -> Iterator[Curve]:
    """One curve per contestant and quantity; the other two quantities stay at batch 4, 224 px, 12 blocks."""
    contestants = [c for c in (*COMMON, *UNIFORM) if c.name in SHOWN]
    for contestant in contestants:
        yield curve(contestant, "batch", batches, [(b, 224, 12) for b in batches])
        yield curve(contestant, "image size, px", sizes, [(4, s, 12) for s in sizes])
        yield curve(contestant, "depth, blocks", depths, [(4, 224, d) for d in depths])


def curve(contestant: Contestant, quantity: str, values: tuple[int, ...], points: list[tuple[int, int, int]]) -> Curve:
    """Measure one contestant at (batch, image size, depth) points."""
    peaks, times = [], []
    for batch, size, depth in points:
        x, y = measure.images(batch, size, 100, torch.float32)
        runner = measure.ready(contestant, model_of(size, depth), x)
        runner.step(x, y)
        with PeakMeter() as meter:
            runner.loss(x, y).backward()  # type: ignore[no-untyped-call]
        peaks.append(meter.peak_bytes)
        times.append(min(measure.seconds(runner, x, y) for _ in range(2)) * 1e3)
    return Curve(MODEL, contestant.name, "fp32", quantity, values, tuple(peaks), tuple(times))
