"""The random numbers of stochastic rounding: a hash of element index and seed, the same on every device.

u(i) = lowbias32(i * 0x9E3779B9 + lowbias32(seed)) >> 8, as a multiple of 2^-24 (the hash: C. Wellons, "Prospecting for
hash functions", 2018). A counter-based generator needs no state to replay and gives kernels of any blocking equal bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN = 0x9E3779B9  # 2^32 / golden ratio: spreads consecutive indices
FACTORS = (0x7FEB352D, 0x846CA68B)


def mix(value: int) -> int:
    """lowbias32 of a Python integer."""
    value &= 0xFFFFFFFF
    value = ((value ^ (value >> 16)) * FACTORS[0]) & 0xFFFFFFFF
    value = ((value ^ (value >> 15)) * FACTORS[1]) & 0xFFFFFFFF
    return value ^ (value >> 16)


def uniform(start: int, count: int, seed: int, device: torch.device) -> Tensor:
    """u(start) .. u(start + count - 1) in [0, 1), fp32 [count]."""
    index = torch.arange(start, start + count, dtype=torch.int64, device=device).to(torch.int32)
    h = index.mul_(_signed(GOLDEN)).add_(_signed(mix(seed)))
    h ^= (h >> 16) & 0xFFFF  # >> of int32 is arithmetic; the mask makes it logical
    h *= _signed(FACTORS[0])
    h ^= (h >> 15) & 0x1FFFF
    h *= _signed(FACTORS[1])
    h ^= (h >> 16) & 0xFFFF
    return ((h >> 8) & 0xFFFFFF).to(torch.float32).mul_(2.0**-24)


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value
