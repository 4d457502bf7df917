"""Measure one contestant on one model: held bytes, peak, paired step time, cosine of its gradient."""

from __future__ import annotations

import copy
import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.contestants import Contestant, Runner
from benchmarks.results import Spread
from s2a_core.meter import PeakMeter, held_bytes


@dataclass(frozen=True)
class Memory:
    """Bytes of one forward and backward: slopes per sample between two batches, and the peak at the larger one.

    held: alive for backward after forward. peak: above model, gradients and input, by the allocator's events.
    """

    held_per_sample: int
    peak_per_sample: int
    peak: int
    batches: tuple[int, int]


def images(batch: int, size: int, classes: int, dtype: torch.dtype, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Seeded noise images [B, 3, size, size] and labels [B]; bytes do not depend on their content."""
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, 3, size, size, generator=generator)
    y = torch.randint(0, classes, (batch,), generator=generator)
    return x.to(device, dtype), y.to(device)


def ready(contestant: Contestant, model: nn.Module, x: Tensor) -> Runner:
    """The contestant on a copy of `model`, seeded so that added parameters repeat."""
    torch.manual_seed(0)
    return contestant.build(copy.deepcopy(model), x)


def memory(runner: Runner, make: Sequence[tuple[Tensor, Tensor]]) -> Memory:
    """Held bytes and peaks at the two batches of `make`; gradients exist before, as in every step but a run's first."""
    held, peaks = [], []
    if all(p.grad is None for p in runner.model.parameters()):
        runner.step(*make[0])
    for x, y in make:
        gc.collect()
        held.append(held_bytes(runner.model, lambda x=x, y=y: runner.loss(x, y)))  # type: ignore[misc]
        meter = PeakMeter()
        with meter:
            runner.loss(x, y).backward()
        peaks.append(meter.peak_bytes)
    small, large = len(make[0][0]), len(make[1][0])
    return Memory(
        held_per_sample=round((held[1] - held[0]) / (large - small)),
        peak_per_sample=round((peaks[1] - peaks[0]) / (large - small)),
        peak=peaks[1],
        batches=(small, large),
    )


def step_ratio(runner: Runner, reference: Runner, x: Tensor, y: Tensor, repeats: int) -> tuple[Spread, float]:
    """(step time over the reference's, the reference's median in ms), taken in turns so that load falls on both.

    Both have to have run a step before.
    """
    ratios, times = [], []
    for _ in range(repeats):
        base = seconds(reference, x, y)
        ratios.append(seconds(runner, x, y) / base)
        times.append(base * 1e3)
    return Spread.of(ratios), statistics.median(times)


def seconds(runner: Runner, x: Tensor, y: Tensor) -> float:
    """Wall time of one step."""
    if x.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    runner.step(x, y)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def gradients(runner: Runner, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Trainable gradients of one step, by the parameter's name in the bare timm model; the same paths are dropped."""
    torch.manual_seed(0)
    runner.step(x, y)
    return {
        n.replace("_orig_mod.", ""): p.grad.detach().clone()
        for n, p in runner.model.named_parameters()
        if p.grad is not None
    }


def cosine(actual: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Cosine between two sets of gradients over the parameters both have."""
    names = [n for n in exact if n in actual]
    a = torch.cat([actual[n].double().flatten() for n in names])
    b = torch.cat([exact[n].double().flatten() for n in names])
    return float(a @ b / (a.norm() * b.norm()).clamp_min(1e-300))
