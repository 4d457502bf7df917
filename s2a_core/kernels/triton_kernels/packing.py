"""Codes to and from the byte stream: a program owns a tile of [groups, 8] codes, and eight codes are b bytes."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from s2a_core.kernels.layout import check_bits, packed_bytes
from s2a_core.kernels.triton_kernels.launch import cdiv, launch

GROUPS = 128  # of eight codes in a program


@triton.jit
def store_codes(codes, out, first_group, numel, BITS: tl.constexpr, GROUPS: tl.constexpr):
    """Write a tile of codes [GROUPS, 8] int32 (zero beyond numel) to the byte stream `out`."""
    group = first_group + tl.arange(0, GROUPS)
    lane = tl.arange(0, 8)
    codes_left = tl.minimum(numel - group * 8, 8)  # in bits `numel` may be beyond 2^31: bytes are counted per group
    if BITS > 4:
        word = tl.sum(codes.to(tl.int64) << (lane * BITS).to(tl.int64)[None, :], axis=1)
        byte = (word[:, None] >> (lane * 8).to(tl.int64)[None, :]) & 255
    else:
        short = tl.sum(codes << (lane * BITS)[None, :], axis=1)
        byte = ((short[:, None] >> ((lane & 3) * 8)[None, :]) & 255).to(tl.int64)
    position = group[:, None] * BITS + lane[None, :]
    tl.store(out + position, byte.to(tl.uint8), mask=(lane[None, :] * 8) < (codes_left * BITS)[:, None])


@triton.jit
def load_codes(packed, index, mask, BITS: tl.constexpr):
    """Codes at the element positions `index`, int32."""
    bit = index * BITS
    byte = bit // 8
    shift = (bit % 8).to(tl.int32)
    word = tl.load(packed + byte, mask=mask, other=0).to(tl.int32)
    if 8 % BITS != 0:
        word |= tl.load(packed + byte + 1, mask=mask & (shift + BITS > 8), other=0).to(tl.int32) << 8
    return (word >> shift) & ((1 << BITS) - 1)


@triton.jit
def _pack_kernel(codes, out, numel, BITS: tl.constexpr, GROUPS: tl.constexpr, WIDE: tl.constexpr):
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    index = (pid * GROUPS + tl.arange(0, GROUPS))[:, None] * 8 + tl.arange(0, 8)[None, :]
    tile = tl.load(codes + index, mask=index < numel, other=0).to(tl.int32)
    store_codes(tile, out, pid * GROUPS, numel, BITS, GROUPS)


@triton.jit
def _unpack_kernel(packed, out, numel, BITS: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    index = pid * BLOCK + tl.arange(0, BLOCK)
    mask = index < numel
    tl.store(out + index, load_codes(packed, index, mask, BITS).to(tl.uint8), mask=mask)


def is_wide(numel: int) -> bool:
    """True where bit positions need 64 bits."""
    return numel * 8 >= 2**31


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes below 2^bits as a byte stream. codes: uint8, any shape; returns uint8 [ceil(numel * bits / 8)]."""
    check_bits(bits)
    flat = codes.reshape(-1).contiguous()
    numel = flat.numel()
    out = torch.empty(packed_bytes(numel, bits), dtype=torch.uint8, device=codes.device)
    if numel:
        launch(_pack_kernel, (cdiv(numel, 8 * GROUPS),), (flat, out), numel, bits, GROUPS, is_wide(numel))
    return out


def unpack(packed: Tensor, bits: int, numel: int) -> Tensor:
    """The codes `pack` was given, uint8 [numel]."""
    check_bits(bits)
    out = torch.empty(numel, dtype=torch.uint8, device=packed.device)
    if numel:
        launch(_unpack_kernel, (cdiv(numel, 1024),), (packed, out), numel, bits, 1024, is_wide(numel))
    return out
