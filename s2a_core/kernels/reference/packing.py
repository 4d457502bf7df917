"""Codes of b bits in a byte stream, and back, by arithmetic on lanes of codes: no temporary is wider than the codes."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from s2a_core.kernels.layout import check_bits, packed_bytes

# One multiplication moves the codes of a lane side by side into its top byte: field i of the lane, at bit 8i, is
# shifted by the factor's term 2^(top - (8 - bits) * i); no two products meet below the top byte's fields.
_FACTORS = {
    1: (torch.int64, sum(1 << (56 - 7 * i) for i in range(8)), 56),
    2: (torch.int32, sum(1 << (24 - 6 * i) for i in range(4)), 24),
    4: (torch.int16, (1 << 8) + (1 << 4), 8),
}


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes below 2^bits as a byte stream. codes: uint8, any shape; returns uint8 [ceil(numel * bits / 8)]."""
    check_bits(bits)
    flat = codes.reshape(-1)
    numel = flat.numel()
    if bits == 8 or numel == 0:
        return flat.clone()
    if bits in _FACTORS:
        dtype, factor, shift = _FACTORS[bits]
        lanes = _lanes(flat, numel).view(dtype)
        return (lanes * factor >> shift).to(torch.uint8)[: packed_bytes(numel, bits)].clone()
    lanes = _lanes(flat, numel)
    # neighbours close up in pairs, then pairs of pairs: 8 x b bits -> 4 x 2b -> 2 x 4b -> 8b bits
    for width in (8, 16, 32):
        gap = (width // 8) * (8 - bits)
        odd = (lanes >> gap) & (((1 << (bits * width // 8)) - 1) * _repeat(width) << (bits * width // 8))
        lanes = (lanes & (((1 << (bits * width // 8)) - 1) * _repeat(width))) | odd
    return lanes.view(torch.uint8).view(-1, 8)[:, :bits].reshape(-1)[: packed_bytes(numel, bits)].clone()


def unpack(packed: Tensor, bits: int, numel: int) -> Tensor:
    """The codes `pack` was given. packed: uint8 [ceil(numel * bits / 8)]; returns uint8 [numel]."""
    check_bits(bits)
    if bits == 8 or numel == 0:
        return packed[:numel].clone()
    if bits == 4:
        fields = packed.to(torch.int16)
        return fields.bitwise_or_(fields << 4).bitwise_and_(0x0F0F).view(torch.uint8)[:numel]
    if bits == 2:
        fields = packed.to(torch.int32)
        fields = fields.bitwise_or_(fields << 12).bitwise_and_(0x000F000F)
        return fields.bitwise_or_(fields << 6).bitwise_and_(0x03030303).view(torch.uint8)[:numel]
    if bits == 1:
        return _bits_of_bytes(packed.device).index_select(0, packed.to(torch.int32)).view(torch.uint8)[:numel]
    groups = -(-numel // 8)
    bytes8 = torch.zeros((groups, 8), dtype=torch.uint8, device=packed.device)
    whole = packed.numel() // bits
    bytes8[:whole, :bits] = packed[: whole * bits].view(-1, bits)
    if whole < groups:
        rest = packed[whole * bits :]
        bytes8[whole, : rest.numel()] = rest
    lanes = bytes8.view(torch.int64).view(-1)
    for width in (32, 16, 8):
        taken = bits * width // 8
        low = ((1 << taken) - 1) * _repeat(width)
        lanes = (lanes & low) | ((lanes & (low << taken)) << (width - taken))
    return lanes.view(torch.uint8)[:numel]


@functools.lru_cache(maxsize=8)
def _bits_of_bytes(device: torch.device) -> Tensor:
    """For every byte, its eight bits as the bytes of a 64-bit word, int64 [256]."""
    value = torch.arange(256, dtype=torch.int64, device=device).view(-1, 1)
    bits = (value >> torch.arange(8, device=device)) & 1
    return bits.to(torch.uint8).contiguous().view(torch.int64).view(-1)


def _repeat(width: int) -> int:
    """A one in every second field of `width` bits of a 64-bit word."""
    return sum(1 << (2 * width * i) for i in range(32 // width))


def _lanes(flat: Tensor, numel: int) -> Tensor:
    """int64 view of the codes, padded with zeros to whole lanes."""
    if numel % 8 == 0 and flat.is_contiguous() and flat.storage_offset() % 8 == 0:
        return flat.view(torch.int64)
    padded = torch.zeros(-(-numel // 8) * 8, dtype=torch.uint8, device=flat.device)
    padded[:numel] = flat
    return padded.view(torch.int64)
