"""Where the bytes of a payload lie: one integer formula for kernels, ledger and planner. Imports no torch.

A payload of quantize_channels for x [B, N, C] at b bits is one uint8 tensor:

    [ packed codes, ceil(B*N*C*b/8) bytes, padded to an even number | scales bf16 [B, C] | zeros bf16 [B, C] ]

Codes are a little-endian bit stream in row-major order of x: code i fills bits i*b .. (i+1)*b - 1, so that eight
codes always fill b whole bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

BITS = (1, 2, 3, 4, 5, 6, 8)
LARGEST_WINDOW = 1 << BITS[-1]  # positions of a pooling window that a code can tell apart
STATISTICS_BYTES = 4  # of a group: a bf16 scale and a bf16 zero


def check_bits(bits: int) -> None:
    """Raise ValueError unless codes of this many bits exist."""
    if bits not in BITS:
        raise ValueError(f"codes have 1, 2, 3, 4, 5, 6 or 8 bits, not {bits}")


def packed_bytes(numel: int, bits: int) -> int:
    """Bytes of `numel` codes of `bits` bits, as `pack` writes them."""
    check_bits(bits)
    return (numel * bits + 7) // 8


def scales_offset(numel: int, bits: int) -> int:
    """First byte of the scales in a payload: the codes, padded to bf16's alignment."""
    return (packed_bytes(numel, bits) + 1) // 2 * 2


def payload_bytes(shape: Sequence[int], bits: int) -> int:
    """Bytes of the payload of quantize_channels for x of shape [B, N, C]."""
    samples, tokens, channels = shape
    return scales_offset(samples * tokens * channels, bits) + STATISTICS_BYTES * samples * channels


def nf4_bytes(groups: int, group: int) -> int:
    """Bytes of the payload of quantize_nf4 for x [groups, group]: 4-bit codes, then a bf16 scale of each group."""
    return scales_offset(groups * group, 4) + 2 * groups
