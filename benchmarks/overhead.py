"""Where a step's time goes: what intercepting alone costs, and every operator's share with codes and with regions."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks import measure
from benchmarks.contestants import Runner, bias
from benchmarks.ours import CHUNK, policy
from benchmarks.results import OverheadRun
from s2a_core.compression import compress
from s2a_core.storage import Storage, StoragePolicy

MODEL, BATCH, CLASSES, SHOWN = "vit_base_patch16_224", 8, 100, 8
# Every call passes the session and everything stays exact; the name, of no site, keeps it from standing aside.
PASSED_ON = StoragePolicy({"nothing:none": Storage.B8}, Storage.EXACT)


def runs(name: str = MODEL, batch: int = BATCH, repeats: int = 5, size: int = 224) -> Iterator[OverheadRun]:
    """Interception alone, 4-bit codes, 4-bit regions; fp32, each paired with stock bias tuning."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": size} if name.startswith(("vit", "deit")) else {}
    model = timm.create_model(name, num_classes=CLASSES, **options)
    x, y = measure.images(batch, size, CLASSES, torch.float32)
    stock = bias(copy.deepcopy(model), x)
    stock.step(x, y)
    ways = {
        "everything exact, intercepted": PASSED_ON,
        "codes 4 bit": policy(stock.model, x[:2], 4, "codes"),
        f"regions 4 bit, chunks of {CHUNK}": policy(stock.model, x[:2], 4, "region"),
    }
    for way, chosen in ways.items():
        runner = _under(bias(copy.deepcopy(model), x).model, chosen)
        runner.step(x, y)
        ratio, _ = measure.step_ratio(runner, stock, x, y, repeats)
        yield OverheadRun(name, way, batch, ratio, operators(runner, x, y))


def _under(model: nn.Module, chosen: StoragePolicy) -> Runner:
    def context() -> AbstractContextManager[object]:
        return compress(model, chosen)

    return Runner(model, context)


def operators(runner: Runner, x: Tensor, y: Tensor) -> dict[str, float]:
    """Milliseconds of one step by operator, without what it calls; the largest SHOWN and the rest."""
    activities = [ProfilerActivity.CUDA if x.is_cuda else ProfilerActivity.CPU]
    with profile(activities=activities) as trace:
        runner.step(x, y)
    times = {event.key: event.self_cpu_time_total / 1e3 for event in trace.key_averages()}
    largest = dict(sorted(times.items(), key=lambda item: -item[1])[:SHOWN])
    return largest | {"the rest": sum(times.values()) - sum(largest.values())}
