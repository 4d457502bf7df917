"""Weights as 4-bit codes of the quantiles of a normal distribution (NF4, Dettmers et al. 2023, arXiv 2305.14314).

    x ~ scale * LEVELS[code]        one bf16 scale for each group of consecutive weights

The scale is the one of SHRINKS * max|x| with the least squared error: outliers may be cut where the rest gains. On
DeiT-tiny's weights and photos, error of a layer's output: NF4 in groups of 64 .0744, with the search .0705 (4.25 bits a
weight); an affine code, scale and zero, in groups of 64 .0749, with the search .0719 (4.5 bits); symmetric codes .092.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from s2a_core.kernels.layout import nf4_bytes, packed_bytes, scales_offset
from s2a_core.kernels.reference.packing import pack, unpack

# Quantiles of N(0, 1) at equal steps of probability, 8 below zero and 7 above, divided by the largest (appendix E).
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
SHRINKS = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8)
CHUNK_ELEMENTS = 1 << 16  # coded or decoded at a time: the temporaries of one chunk are all there is


@functools.lru_cache(maxsize=16)
def levels_on(device: torch.device) -> Tensor:
    """LEVELS, fp32 [16]."""
    return torch.tensor(LEVELS, device=device)


def quantize_nf4(x: Tensor) -> Tensor:
    """Codes and scales of x [groups, group] in one tensor: uint8 [nf4_bytes]. A group of zeros has scale 0."""
    groups, group = x.shape
    payload = torch.zeros(nf4_bytes(groups, group), dtype=torch.uint8, device=x.device)
    codes, scales = torch.empty(x.shape, dtype=torch.uint8, device=x.device), scales_of(payload, groups, group)
    levels = levels_on(x.device)
    borders = (levels[1:] + levels[:-1]) / 2
    step = max(CHUNK_ELEMENTS // max(group, 1), 1)
    for first in range(0, groups, step):
        rows = slice(first, min(first + step, groups))
        chunk = x[rows].to(torch.float32)
        largest = chunk.abs().amax(1, keepdim=True)
        least = torch.full_like(largest, float("inf"))
        for shrink in SHRINKS:
            scale = (largest * shrink).to(torch.bfloat16)
            wide = scale.to(torch.float32)
            code = torch.bucketize(chunk / wide.clamp_min(torch.finfo(torch.float32).tiny), borders)
            error = (levels[code].mul_(wide).sub_(chunk)).square_().sum(1, keepdim=True)
            is_better = error < least
            least = torch.where(is_better, error, least)
            scales[rows] = torch.where(is_better, scale, scales[rows])
            codes[rows] = torch.where(is_better, code.to(torch.uint8), codes[rows])
    payload[: packed_bytes(codes.numel(), 4)] = pack(codes, 4)
    return payload


def dequantize_nf4(payload: Tensor, groups: int, group: int, dtype: torch.dtype) -> Tensor:
    """The weights that a payload stands for, [groups, group] in `dtype`."""
    out = torch.empty((groups, group), dtype=dtype, device=payload.device)
    scales, levels = scales_of(payload, groups, group), levels_on(payload.device)
    step = max(CHUNK_ELEMENTS // max(2 * group, 1), 1) * 2  # chunks begin with a whole byte
    for first in range(0, groups, step):
        last = min(first + step, groups)
        count = (last - first) * group
        packed = payload[first * group // 2 :][: packed_bytes(count, 4)]
        values = levels.index_select(0, unpack(packed, 4, count).to(torch.int32)).view(-1, group)
        out[first:last] = values.mul_(scales[first:last].to(torch.float32))
    return out


def scales_of(payload: Tensor, groups: int, group: int) -> Tensor:
    """View of the scales in a payload: bf16 [groups, 1]."""
    start = scales_offset(groups * group, 4)
    return payload[start : start + 2 * groups].view(torch.bfloat16).view(groups, 1)
