"""How long a step keeps the host and the device busy, each by itself, and what it launches. On CUDA only."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from s2a_core.batches import Samples, forward, loss_of
from s2a_core.compression import compress
from s2a_core.profiling.launches import LaunchCounter
from s2a_core.profiling.timeline import per_sample
from s2a_core.storage import StoragePolicy

REPEATS = 5
CYCLES_PER_S = 2e9  # of a GPU's clock, at most: what a waiting kernel counts
TimedStep = Callable[[], None]


@dataclass(frozen=True)
class Timing:
    """Of a step: seconds of the process until its last launch, of its kernels without gaps, and how many these are."""

    host_s: float
    device_s: float
    launches: int


@dataclass(frozen=True)
class Reference:
    """A step that others are timed beside, and its seconds of the process."""

    step: TimedStep
    host_s: float

    @classmethod
    def of(cls, step: TimedStep, device: torch.device) -> Reference:
        """step: has run before."""
        return cls(step, statistics.median(_host_s(step, device) for _ in range(REPEATS)))


def training_step(
    model: nn.Module, x: Tensor | Samples, y: Tensor | Samples, policy: StoragePolicy, precision: str
) -> TimedStep:
    """A forward and backward as training runs it: one session for all, nothing recorded, gradients left behind."""
    session = compress(model, policy)
    trained = [p for p in model.parameters() if p.requires_grad]

    def step() -> None:
        for parameter in trained:
            parameter.grad = None
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"), session:
            loss = loss_of(forward(model, x), y)
        loss.backward()

    return step


def timed(step: TimedStep, device: torch.device, reference: Reference | None = None) -> Timing:
    """Times a step of `training_step`.

    Two steps are not timed: one compiles kernels, brings tables to the device and finds names, one is counted. The
    host's time is the reference's times the median ratio of pairs run in turn: whatever else a machine does slows both.
    A few samples keep a device busy for less time than the host needs, so its time is taken of a step whose launches
    all wait behind one kernel. Where they are more than the device's queue takes, the host's time is part of it.
    """
    step()
    with LaunchCounter() as counter:
        step()
    reference = reference or Reference.of(step, device)
    host_s = reference.host_s
    if step is not reference.step:
        host_s *= statistics.median(_host_s(step, device) / _host_s(reference.step, device) for _ in range(REPEATS))
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    with torch.cuda.device(device):
        torch.cuda._sleep(int(2 * host_s * CYCLES_PER_S))
        start.record()
        step()
        end.record()
    torch.cuda.synchronize(device)
    return Timing(host_s, start.elapsed_time(end) / 1e3, counter.launches)


def _host_s(step: TimedStep, device: torch.device) -> float:
    torch.cuda.synchronize(device)
    began = time.process_time()  # not of others, who may have the processor meanwhile
    step()
    return time.process_time() - began


def per_sample_s(timings: tuple[Timing, Timing], batches: tuple[int, int]) -> float:
    """Seconds of the device for one more sample, by two batches."""
    small_s, large_s = (timing.device_s for timing in timings)
    return min(max(per_sample(batches, (small_s, large_s)), 0.0), large_s / batches[1])
