"""A tensor as b-bit codes with one bf16 scale and zero per (sample, channel) group over the tokens.

    code = floor((x - zero) / scale + 1/2)
    x    ~ zero + code * scale

Where scale and zero come from, n = 2^b levels:

    b >= 2    the first token is a level itself, first = zero + k * scale, with the k that allows the smallest scale
              whose levels reach within half a scale of min and max
    b = 1     zero = min + scale / 2, scale = (max - min) / n: every level serves an equal part of the range
    else      (a group far from zero, where bf16 cannot place a level)
              zero = bf16(min - |min| / 2^8), scale = bf16((max - zero) * (1 + 2^-8) / (n - 1)): nothing is clipped

Why the first token: a class token lies there, and most of the gradient passes through that one row. Measured on
DeiT-tiny's weights and 32 photos, both halves of each block rebuilt from b-bit x̂, cosine of all bias gradients with the
range min..max / middle of equal parts / first token a level: 3 bits .955 / .962 / .982, 4 bits .990 / .992 / .994,
5 bits .9979 / .9980 / .9987. Where no token is special it costs at most 1/14 of the scale at 4 bits. At 1 bit it costs
too much range: x̂ kept by the norm alone .621 / .990 / .964; at 2 bits .995 / .998 / .997, but equal parts lose the
zeros of softmax rows, whose error they raise from .89 to 1.04.

A group with a NaN or an infinity has NaN scale and zero and comes back as NaN; the other groups do not notice.
Grouping per channel over tokens, not per token: 2-bit x̂ keeps gradient cosine .98 against .02 (numbers of the design).
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from s2a_core.kernels.layout import check_bits, packed_bytes, payload_bytes, scales_offset
from s2a_core.kernels.reference.packing import pack, unpack

CHUNK_ELEMENTS = 1 << 17  # fp32 chunks of 512 KiB stay in a core's second-level cache between passes
SMALLEST_SCALE = 2.0**-126  # below it 1 / scale would overflow; such a group is constant
SCALE_MARGIN = 1.0 + 2.0**-8  # more than rounding to bf16 can take away


def farthest(bits: int) -> float:
    """Scales from zero up to which levels are placed: there bf16 rounds a zero by 1/16 (3/8 at 8 bits) of a scale."""
    return max(32.0, 0.75 * (1 << bits))


def range_rule(bits: int) -> RangeRule:
    """Which of the rules above finds scale and zero."""
    return RangeRule.FIRST_IS_A_LEVEL if bits >= 2 else RangeRule.EQUAL_PARTS


class RangeRule(IntEnum):
    """How levels are laid over a group's range."""

    EQUAL_PARTS = 1  # each level in the middle of its part
    FIRST_IS_A_LEVEL = 2  # the first token is coded without error


def scale_factor(bits: int) -> float:
    """(1 + 2^-8) / (2^bits - 1)."""
    return SCALE_MARGIN / ((1 << bits) - 1)


def quantize_channels(x: Tensor, bits: int) -> Tensor:
    """Codes of x with their statistics in one tensor. x: [B, N, C] floating; returns uint8 [payload_bytes]."""
    check_bits(bits)
    samples, tokens, channels = x.shape
    numel = x.numel()
    payload = torch.zeros(payload_bytes(x.shape, bits), dtype=torch.uint8, device=x.device)
    if numel == 0:
        return payload
    scales, zeros = statistics_of(payload, (samples, tokens, channels), bits)
    codes = torch.empty((samples, tokens, channels), dtype=torch.uint8, device=x.device)
    step, rule = max(CHUNK_ELEMENTS // (tokens * channels), 1), range_rule(bits)
    for first in range(0, samples, step):
        rows = slice(first, min(first + step, samples))
        chunk = x[rows].to(torch.float32)
        measure(chunk, bits, rule, scales[rows], zeros[rows])
        write_codes(chunk, bits, scales[rows], zeros[rows], codes[rows])
    payload[: packed_bytes(numel, bits)] = pack(codes, bits)
    return payload


def dequantize_channels(
    payload: Tensor, shape: tuple[int, int, int], bits: int, dtype: torch.dtype, out: Tensor | None = None
) -> Tensor:
    """The tensor `quantize_channels` was given, up to half a scale. Returns [B, N, C] in `dtype`, in `out` if given."""
    samples, tokens, channels = shape
    numel = samples * tokens * channels
    if out is None:
        out = torch.empty(tuple(shape), dtype=dtype, device=payload.device)
    if numel == 0:
        return out
    scales, zeros = statistics_of(payload, shape, bits)
    step = chunk_rows(shape)
    for first in range(0, samples, step):
        rows = slice(first, min(first + step, samples))
        out[rows] = read_codes(payload, shape, bits, rows, scales, zeros)
    return out


def row_stride(x: Tensor) -> int:
    """Elements from one row of channels of x [B, N, C] to the next, where all are that far apart; else 0."""
    samples, tokens, channels = x.shape
    stride = x.stride(1) if tokens > 1 else x.stride(0) if samples > 1 else channels
    is_even = samples <= 1 or x.stride(0) == tokens * stride
    is_dense = channels <= 1 or x.stride(2) == 1
    if channels == 1:
        return 1 if is_even and stride == 1 else 0
    return stride if is_even and is_dense and stride >= channels else 0


def chunk_rows(shape: tuple[int, int, int]) -> int:
    """Samples in a chunk; a multiple of 8 of them, or all, when a sample does not end on a whole lane of codes."""
    _, tokens, channels = shape
    step = max(CHUNK_ELEMENTS // max(tokens * channels, 1), 1)
    return step if (tokens * channels) % 8 == 0 else -(-step // 8) * 8


def statistics_of(payload: Tensor, shape: tuple[int, int, int], bits: int) -> tuple[Tensor, Tensor]:
    """Views of scale and zero in a payload: bf16 [B, 1, C] each."""
    samples, tokens, channels = shape
    start = scales_offset(samples * tokens * channels, bits)
    both = payload[start : start + 4 * samples * channels].view(torch.bfloat16).view(2, samples, 1, channels)
    return both[0], both[1]


def measure(x: Tensor, bits: int, rule: RangeRule, scale_out: Tensor, zero_out: Tensor) -> None:
    """Writes bf16 scale and zero of every group of x [B, N, C] fp32 to scale_out, zero_out [B, 1, C]."""
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    zero = (low - low.abs() * 2.0**-8).to(torch.bfloat16)
    scale = ((high - zero.to(torch.float32)) * scale_factor(bits)).to(torch.bfloat16)
    step, anchor, position = _levels(x[:, :1], low, high, bits, rule)
    fitted = (step * SCALE_MARGIN).to(torch.bfloat16)
    width = fitted.to(torch.float32)
    is_near = torch.maximum(low.abs(), high.abs()) <= farthest(bits) * width  # false where the range is 0
    scale = torch.where(is_near, fitted, scale)
    zero = torch.where(is_near, (anchor - position * width).to(torch.bfloat16), zero)
    is_bad = ~torch.isfinite(high - low)
    zero_out.copy_(zero.masked_fill_(is_bad, float("nan")))
    scale_out.copy_(scale.masked_fill_(is_bad, float("nan")))


def _levels(
    first: Tensor, low: Tensor, high: Tensor, bits: int, rule: RangeRule
) -> tuple[Tensor, Tensor, Tensor | float]:
    """Smallest distance of levels, a value, and the number of the level that value has. All fp32 [B, 1, C]."""
    num, top = float(1 << bits), float((1 << bits) - 1)
    if rule is RangeRule.EQUAL_PARTS:
        return (high - low) * (1.0 / num), low, -0.5
    below, above = first - low, high - first
    k = (below / (high - low) * num - 0.5).floor_().clamp_(0.0, top)
    k_next = (k + 1.0).clamp_max_(top)
    step = torch.maximum(below / (k + 0.5), above / (top + 0.5 - k))
    step_next = torch.maximum(below / (k_next + 0.5), above / (top + 0.5 - k_next))
    return torch.minimum(step, step_next), first, torch.where(step_next < step, k_next, k)


def write_codes(x: Tensor, bits: int, scale: Tensor, zero: Tensor, out: Tensor) -> None:
    """Codes of x [B, N, C] fp32 into out uint8 [B, N, C]."""
    scale = scale.to(torch.float32)
    inverse = torch.where(scale >= SMALLEST_SCALE, scale.reciprocal(), 0.0)
    v = x - zero.to(torch.float32)
    v *= inverse
    v += 0.5
    out.copy_(v.clamp_(0.0, (1 << bits) - 0.5).to(torch.int32))  # NaN becomes 0; its group has a NaN scale


def read_codes(
    payload: Tensor, shape: tuple[int, int, int], bits: int, rows: slice, scales: Tensor, zeros: Tensor
) -> Tensor:
    """zero + code * scale of some samples, fp32 [rows, N, C]."""
    _, tokens, channels = shape
    first, last = rows.start * tokens * channels, rows.stop * tokens * channels
    count = last - first
    start = first * bits // 8
    codes = unpack(payload[start : start + packed_bytes(count, bits)], bits, count)
    v = codes.view(-1, tokens, channels).to(torch.float32)
    v *= scales[rows].to(torch.float32)
    v += zeros[rows].to(torch.float32)
    return v
