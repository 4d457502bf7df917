"""How a batch may be cut: into micro-batches, and inside regions and blocks into chunks of samples."""

from __future__ import annotations

from math import ceil

from s2a_core.profiling.types import Profile

# On CUDA every chunk costs the host its launches, and kernels of fewer samples leave most of a GPU without work.
DEVICE_CHUNKS = (4, 8, 16, 32)


def micro_batches(profile: Profile, batch_size: int) -> list[int]:
    """Samples of a micro-batch, largest first.

    On CPU those that divide the batch. On CUDA also the larger parts of 3, 6, 12 ... of them, the last part smaller,
    unless the model estimates statistics over each, where the last one would count for more than its samples.
    """
    least = min(profile.min_micro_batch, batch_size)
    divisors = [n for n in range(batch_size, least - 1, -1) if batch_size % n == 0]
    if not profile.launches or least > 1:
        return divisors
    thirds = (ceil(batch_size / (3 << doublings)) for doublings in range(batch_size.bit_length()))
    return sorted({*divisors, *thirds}, reverse=True)


def chunk_sizes(profile: Profile, micro_batch: int) -> list[int]:
    """Samples of a chunk in a micro-batch, smallest first.

    On CPU one, and as many as were measured together; on CUDA those of DEVICE_CHUNKS, and all.
    """
    if profile.launches:
        return [*(size for size in DEVICE_CHUNKS if size < micro_batch), micro_batch]
    return [1, profile.chunk_samples] if 1 < profile.chunk_samples <= micro_batch else [1]
