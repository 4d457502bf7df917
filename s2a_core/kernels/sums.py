"""Sums over the rows of a matrix without what PyTorch's reduction takes beside it.

On CUDA, for x [N, C], stock allocates, from 1,024 rows on, 8 bytes per number of x, up to 4 x 32 x 4 bytes per resident
thread of the device: 138 MB on an H100 (ATen/native/cuda/Reduce.cuh, `global_memory_size`). Fewer rows at a time need
none. On a CPU it makes an fp32 copy of a 16-bit x.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = 64  # summed together: enough for a block of threads, few enough for many blocks
FEWEST_ROWS = 1024  # from here on stock takes a workspace
PARTS = 8  # on a CPU: of which one at a time is a copy. As many at any N, so that profiles know a step's moments again


def column_sum(x: Tensor) -> Tensor:
    """Sum of x [N, C] over its rows, in fp32 [C]."""
    if x.is_cuda and len(x) >= FEWEST_ROWS:
        return sum_in_groups(x)
    if x.is_cuda or x.dtype == torch.float32 or len(x) < ROWS:
        return x.sum(0, dtype=torch.float32)
    total = x.new_zeros(x.shape[1], dtype=torch.float32)
    for rows in x.tensor_split(PARTS):
        total += rows.sum(0, dtype=torch.float32)
    return total


def sum_in_groups(x: Tensor) -> Tensor:
    """The same by sums of ROWS rows, which are alive meanwhile: 4 / ROWS bytes per number of x."""
    whole = len(x) - len(x) % ROWS
    total = column_sum(x[:whole].unflatten(0, (-1, ROWS)).sum(1, dtype=torch.float32))  # [N / ROWS, C]
    return total if whole == len(x) else total.add_(x[whole:].sum(0, dtype=torch.float32))


def channel_sum(x: Tensor) -> Tensor:
    """Sum of x [B, C, *spatial] over all but its channels, in fp32 [C]."""
    pixels = x.movedim(1, -1)  # [B, *spatial, C]
    if pixels.is_contiguous():
        return column_sum(pixels.flatten(0, -2))
    return x.sum([d for d in range(x.dim()) if d != 1], dtype=torch.float32)
