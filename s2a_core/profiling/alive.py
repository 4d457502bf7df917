"""What profiling itself needs of a CUDA device: the tensors alive while the fewest samples are measured."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from s2a_core.batches import repeated, sample_bytes
from s2a_core.compression import discover
from s2a_core.device import DeviceMemory
from s2a_core.meter import PeakMeter
from s2a_core.profiling.fitted import fitted_tables
from s2a_core.profiling.measuring import Measuring
from s2a_core.profiling.runs import evaluation_peak


def alive_while_profiling(measuring: Measuring, samples: int, memory: DeviceMemory) -> int:
    """Most bytes of tensors alive in a profile of `samples` samples, without the libraries' workspaces.

    Every uniform choice of storages takes one step of them, tables one forward pass, discovery two of two samples, and
    an evaluation has twice as many.
    """
    model, precision, few = measuring.model, measuring.precision, measuring.x[:samples]
    elsewhere = memory.allocated_workspaces_bytes + (len(measuring.x) - samples) * sample_bytes(measuring.x)

    def alive() -> int:
        gc.collect()  # whatever was measured before
        return torch.cuda.memory_allocated(few.device) - elsewhere

    def most(run: Callable[[], object]) -> int:
        before = alive()
        with PeakMeter(few.device) as meter:
            run()
        return before + meter.peak_bytes

    model.zero_grad(set_to_none=True)  # as every step begins
    before = alive()
    steps = [measuring.step(sites, samples, is_metered=True).peak_bytes for sites in measuring.policies().values()]
    twice = repeated(few, 2 * samples)  # beside the gradients that a step leaves
    evaluation = alive() + evaluation_peak(model, twice, precision, measuring.policy({}))
    del twice
    model.zero_grad(set_to_none=True)
    survey = most(lambda: discover(model, few[:2], precision))
    fitting = most(lambda: fitted_tables(model, few, precision)) if measuring.tables else 0
    return max(before + max(steps), evaluation, survey, fitting)
