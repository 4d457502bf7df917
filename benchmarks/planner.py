"""The planner on growing problems: time to the proven optimum, and its error beside greedy and uniform choices'.

One real profile (a small ViT), its sites repeated for deeper networks with errors drawn a little apart, so that no two
blocks are equal. All three choices may hold the same bytes: those of uniform 4-bit codes. Greedy finds the optimum
among codes; what it misses are regions, which replace several sites by one.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
import random
import time
from collections.abc import Iterator, Mapping

import timm
import torch

from benchmarks.results import PlannerRun
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.planning import Plan
from s2a_core.planning.memory import held_bytes
from s2a_core.planning.peak import Peak
from s2a_core.planning.scoring import gradient_error
from s2a_core.planning.solve import Program
from s2a_core.planning.uniform import held_only
from s2a_core.profiling import Profile, profile
from s2a_core.storage import WHOLE, Storage

REPEATS = (1, 2, 4, 8)
SAMPLES, BITS, SPREAD = 8, 4, 0.5
IMAGE_SIZE = 32


def measured() -> Profile:
    """The profile of a ViT-Ti of 12 blocks at 32 px with measured errors."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=IMAGE_SIZE)
    model = add_adapters(model, AdapterSpec.parse("bias"), IMAGE_SIZE)
    return profile(model, IMAGE_SIZE, 2, has_baselines=False, sensitivity_s=10.0, refine_s=0.0)


def repeated(profiled: Profile, times: int) -> Profile:
    """A network `times` as deep; each site's errors are scaled by exp(N(0, SPREAD^2)), seeded."""
    draw = random.Random(times)
    sites, shared = [], []
    for k in range(times):
        for site in profiled.sites:
            scale = math.exp(draw.gauss(0.0, SPREAD))
            options = tuple(dataclasses.replace(o, gradient_error=o.gradient_error * scale) for o in site.options)
            region, block = (None if p is None else f"{k}.{p}" for p in (site.region, site.block))
            name = f"{k}.{site.name}"
            sites.append(dataclasses.replace(site, name=name, options=options, region=region, block=block))
        shared += [dataclasses.replace(t, sites=tuple(f"{k}.{name}" for name in t.sites)) for t in profiled.shared]
    return dataclasses.replace(profiled, sites=tuple(sites), shared=tuple(shared))


def greedy(profiled: Profile, capacity: int) -> dict[str, Storage]:
    """From the smallest codes everywhere, always the upgrade that removes most squared error per byte and fits.

    It sees one site at a time, so it cannot weigh a region against the sites inside it.
    """
    ladders = {
        s.name: sorted(s.options, key=lambda o: (o.bytes_per_sample, -o.gradient_error))
        for s in profiled.sites
        if s.op not in WHOLE
    }
    chosen = {s.name: Storage.NONE for s in profiled.sites if s.op in WHOLE}
    chosen |= {name: ladder[0].storage for name, ladder in ladders.items()}
    at = dict.fromkeys(ladders, 0)
    waiting: list[tuple[float, str, int, int]] = []

    def offer(name: str) -> None:
        now = ladders[name][at[name]]
        for step, option in enumerate(ladders[name][at[name] + 1 :], at[name] + 1):
            gain = now.gradient_error**2 - option.gradient_error**2
            if gain > 0:
                size = max(option.bytes_per_sample - now.bytes_per_sample, 1)
                heapq.heappush(waiting, (-gain / size, name, at[name], step))

    for name in ladders:
        offer(name)
    while waiting:
        _, name, base, step = heapq.heappop(waiting)
        if base != at[name]:
            continue
        tried = {**chosen, name: ladders[name][step].storage}
        if held_bytes(profiled, tried, SAMPLES) <= capacity:
            chosen, at[name] = tried, step
            offer(name)
    return chosen


def run(profiled: Profile, times: int) -> PlannerRun:
    """One size of problem; held bytes alone count."""
    deep = repeated(held_only(profiled), times)
    uniform: Mapping[str, Storage] = Plan.uniform(deep, BITS).sites
    capacity = held_bytes(deep, uniform, SAMPLES)
    start = time.perf_counter()
    best = Program(Peak(deep, SAMPLES)).solve(capacity, lambda site, option: option.gradient_error**2)
    seconds = time.perf_counter() - start
    assert best is not None  # the uniform choice itself fits
    return PlannerRun(
        num_sites=len(deep.sites),
        seconds=seconds,
        gap=best.report.gap,
        error_optimal=gradient_error(deep, {**dict.fromkeys((s.name for s in deep.sites), Storage.NONE), **best.sites}),
        error_greedy=gradient_error(deep, greedy(deep, capacity)),
        error_uniform=gradient_error(deep, uniform),
    )


def runs(repeats: tuple[int, ...] = REPEATS) -> Iterator[PlannerRun]:
    """Problems of growing size."""
    profiled = measured()
    for times in repeats:
        yield run(profiled, times)
