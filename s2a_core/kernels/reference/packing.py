"""Codes of b bits in a byte stream, and back. Eight codes are one 64-bit lane, so no temporary is wider than the codes."""

from __future__ import annotations

import torch
from torch import Tensor

from s2a_core.kernels.layout import check_bits, packed_bytes

_EVEN = {8: 0x00FF00FF00FF00FF, 16: 0x0000FFFF0000FFFF, 32: 0x00000000FFFFFFFF}


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes below 2^bits as a byte stream. codes: uint8, any shape; returns uint8 [ceil(numel * bits / 8)]."""
    check_bits(bits)
    flat = codes.reshape(-1)
    numel = flat.numel()
    if bits == 8 or numel == 0:
        return flat.clone()
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
    if bits in (1, 2, 4) and packed.numel() * 8 == numel * bits:
        mask = (1 << bits) - 1
        out = torch.empty((packed.numel(), 8 // bits), dtype=torch.uint8, device=packed.device)
        for i in range(8 // bits):
            torch.bitwise_and(packed >> (i * bits), mask, out=out[:, i])
        return out.reshape(-1)
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
