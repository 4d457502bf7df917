"""What profiling itself needs of a CUDA device: the tensors alive while the fewest samples are measured."""

from __future__ import annotations

import gc

import torch

from s2a_core.batches import repeated, sample_bytes
from s2a_core.device import DeviceMemory
from s2a_core.profiling.measuring import Measuring
from s2a_core.profiling.runs import evaluation_peak


def alive_while_profiling(measuring: Measuring, samples: int, memory: DeviceMemory) -> int:
    """Most bytes of tensors alive in a profile of `samples` samples, without the libraries' workspaces.

    Every uniform choice of storages takes one step of them, and a forward pass without gradients has twice as many.
    """
    gc.collect()  # whatever was measured before
    alive = torch.cuda.memory_allocated(measuring.x.device) - memory.allocated_workspaces_bytes
    alive -= (len(measuring.x) - samples) * sample_bytes(measuring.x)
    steps = [measuring.step(sites, samples, is_metered=True).peak_bytes for sites in measuring.policies().values()]
    twice = repeated(measuring.x[:samples], 2 * samples)
    exact = measuring.policy({})
    evaluation = evaluation_peak(measuring.model, twice, measuring.precision, exact)
    return alive + max(*steps, evaluation + len(twice) * sample_bytes(twice))
