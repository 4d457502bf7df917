"""The workspace that PyTorch's reduction of a gradient [rows, columns] to [columns] takes on a CUDA device."""

from __future__ import annotations

from math import ceil

WARP, BLOCK_THREADS = 32, 512
FEWEST_SPLIT, LEAST_OF_SPLIT = 256, 16  # values of a thread from which on rows are split, and in the smallest part


def column_sum_workspace(rows: int, columns: int, resident_threads: int) -> int:
    """Bytes; 0 for few rows. resident_threads: of the whole device, multiprocessors x threads of each.

    `setReduceConfig` and `global_memory_size` of ATen/native/cuda/Reduce.cuh for rows that lie apart: parts of the rows
    are summed side by side, and each thread of a part has an fp32 number for each column that its block works on.
    """
    vector = next(v for v in (4, 2, 1) if columns % v == 0)  # columns that a thread reads at once
    width = min(1 << max(columns // vector, 1).bit_length() - 1, WARP)
    height = BLOCK_THREADS // vector // width
    of_thread = ceil(rows / height)
    if of_thread < FEWEST_SPLIT or not resident_threads:
        return 0
    blocks, wanted = ceil(columns / (width * vector)), resident_threads // (width * height)
    parts = max(min(ceil(wanted / blocks), ceil(of_thread / LEAST_OF_SPLIT)), ceil(of_thread / FEWEST_SPLIT))
    return 4 * columns * parts * width * vector
