"""Per-channel codes: one kernel finds the range of each group, one writes codes, one reads them.

Both writers can normalise on the fly, (x - mean[row]) * rstd[row], so that x̂ never exists in memory.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from s2a_core.kernels.layout import check_bits, packed_bytes, payload_bytes, scales_offset
from s2a_core.kernels.reference.channels import SMALLEST_SCALE, range_rule, row_stride, scale_factor
from s2a_core.kernels.triton_kernels.launch import cdiv, launch, power_of_2
from s2a_core.kernels.triton_kernels.packing import GROUPS, is_wide, load_codes, store_codes


@triton.jit
def bf16_bits(x):
    """fp32 to the bits of bf16, to nearest, ties to even; NaN to 0x7FC0."""
    word = x.to(tl.uint32, bitcast=True)
    rounded = (word + 0x7FFF + ((word >> 16) & 1)) >> 16
    return tl.where(x == x, rounded, 0x7FC0).to(tl.uint16)


@triton.jit
def bf16_value(bits):
    """The bits of bf16 as fp32."""
    return (bits.to(tl.uint32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def statistics(payload, scales_at, num_groups):
    """Pointers to the scales and zeros of a payload, as the bits of bf16. scales_at: the scales' first byte."""
    scales = (payload + scales_at).to(tl.pointer_type(tl.uint16))
    return scales, scales + num_groups


@triton.jit
def _measure_kernel(
    x, mean, rstd, payload, scales_at, num_groups, N, C, stride, factor, num,
    NORMALIZED: tl.constexpr, CENTRED: tl.constexpr, RULE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    scales, zeros = statistics(payload, scales_at, num_groups)
    sample = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    low = tl.full((BLOCK_C,), float("inf"), tl.float32)
    high = tl.full((BLOCK_C,), float("-inf"), tl.float32)
    bad = tl.zeros((BLOCK_C,), tl.int32)
    start = 0
    while start < N:  # not a range of N: Triton 3.6's interpreter cannot make one under NumPy 2.4
        n = start + tl.arange(0, BLOCK_N)
        inside = (n < N)[:, None] & (c < C)[None, :]
        v = tl.load(x + (sample * N + n[:, None]) * stride + c[None, :], mask=inside, other=0.0).to(tl.float32)
        if NORMALIZED:
            if CENTRED:
                v -= tl.load(mean + sample * N + n, mask=n < N, other=0.0)[:, None]
            v *= tl.load(rstd + sample * N + n, mask=n < N, other=0.0)[:, None]
        is_finite = tl.abs(v) < float("inf")
        low = tl.minimum(low, tl.min(tl.where(inside & is_finite, v, float("inf")), axis=0))
        high = tl.maximum(high, tl.max(tl.where(inside & is_finite, v, float("-inf")), axis=0))
        bad = tl.maximum(bad, tl.max((inside & (is_finite == 0)).to(tl.int32), axis=0))
        start += BLOCK_N
    is_bad = (bad > 0) | ((tl.abs(high - low) < float("inf")) == 0)
    zero = bf16_bits(low - tl.abs(low) * 0.00390625)
    scale = bf16_bits((high - bf16_value(zero)) * factor)
    span = high - low
    step = span / num  # a power of two: exact
    anchor = low
    k = tl.full((BLOCK_C,), -0.5, tl.float32)
    if RULE == 2:
        top = num - 1.0
        anchor = tl.load(x + sample * N * stride + c, mask=c < C, other=0.0).to(tl.float32)
        if NORMALIZED:
            if CENTRED:
                anchor -= tl.load(mean + sample * N)
            anchor *= tl.load(rstd + sample * N)
        below = anchor - low
        above = high - anchor
        k = tl.floor(tl.div_rn(below, tl.where(span > 0.0, span, 1.0)) * num - 0.5)
        k = tl.minimum(tl.maximum(k, 0.0), top)
        after = tl.minimum(k + 1.0, top)
        step = tl.maximum(tl.div_rn(below, k + 0.5), tl.div_rn(above, top + 0.5 - k))
        step_after = tl.maximum(tl.div_rn(below, after + 0.5), tl.div_rn(above, top + 0.5 - after))
        k = tl.where(step_after < step, after, k)
        step = tl.minimum(step, step_after)
    fitted = bf16_bits(step * 1.00390625)
    width = bf16_value(fitted)
    is_near = (span > 0.0) & (tl.maximum(tl.abs(low), tl.abs(high)) <= tl.maximum(32.0, 0.75 * num) * width)
    scale = tl.where(is_near, fitted, scale)
    zero = tl.where(is_near, bf16_bits(anchor - k * width), zero)
    scale = tl.where(is_bad, 0x7FC0, scale).to(tl.uint16)
    zero = tl.where(is_bad, 0x7FC0, zero).to(tl.uint16)
    tl.store(zeros + sample * C + c, zero, mask=c < C)
    tl.store(scales + sample * C + c, scale, mask=c < C)


@triton.jit
def _encode_kernel(
    x, mean, rstd, out, scales_at, num_groups, numel, N, C, stride, top, smallest,
    NORMALIZED: tl.constexpr, CENTRED: tl.constexpr,
    BITS: tl.constexpr, GROUPS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    index = (pid * GROUPS + tl.arange(0, GROUPS))[:, None] * 8 + tl.arange(0, 8)[None, :]
    inside = index < numel
    row = index // C
    channel = (row // N) * C + index % C
    scales, zeros = statistics(out, scales_at, num_groups)
    v = tl.load(x + row * stride + index % C, mask=inside, other=0.0).to(tl.float32)
    if NORMALIZED:
        if CENTRED:
            v -= tl.load(mean + row, mask=inside, other=0.0)
        v *= tl.load(rstd + row, mask=inside, other=0.0)
    scale = bf16_value(tl.load(scales + channel, mask=inside, other=0))
    zero = bf16_value(tl.load(zeros + channel, mask=inside, other=0))
    usable = scale >= smallest
    v = (v - zero) * tl.where(usable, tl.div_rn(1.0, tl.where(usable, scale, 1.0)), 0.0)
    v += 0.5
    v = tl.where(v > 0.0, tl.where(v < top, v, top), 0.0)  # NaN becomes 0; its group has a NaN scale
    store_codes(tl.where(inside, v.to(tl.int32), 0), out, pid * GROUPS, numel, BITS, GROUPS)


@triton.jit
def _decode_kernel(
    packed, out, scales_at, num_groups, numel, N, C, BITS: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr
):
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    index = pid * BLOCK + tl.arange(0, BLOCK)
    inside = index < numel
    channel = (index // C // N) * C + index % C
    scales, zeros = statistics(packed, scales_at, num_groups)
    code = load_codes(packed, index, inside, BITS).to(tl.float32)
    v = code * bf16_value(tl.load(scales + channel, mask=inside, other=0))
    v += bf16_value(tl.load(zeros + channel, mask=inside, other=0))
    tl.store(out + index, v.to(out.dtype.element_ty), mask=inside)


def write_payload(
    x: Tensor,
    shape: tuple[int, int, int],
    bits: int,
    mean: Tensor | None = None,
    rstd: Tensor | None = None,
    stride: int = 0,
) -> Tensor:
    """The payload of x seen as `shape`, or of (x - mean) * rstd when rstd [rows] is given.

    stride: elements between the rows of x, 0 where x is contiguous.
    """
    samples, tokens, channels = shape
    numel = samples * tokens * channels
    payload = torch.empty(payload_bytes(shape, bits), dtype=torch.uint8, device=x.device)
    if numel == 0:
        return payload.zero_()
    codes_bytes, scales_at = packed_bytes(numel, bits), scales_offset(numel, bits)
    if codes_bytes < scales_at:
        payload[codes_bytes].zero_()  # the pad
    block_c = min(power_of_2(channels), 64)
    block_n = min(power_of_2(tokens), 4096 // block_c)
    steps = (x, mean if mean is not None else x, rstd if rstd is not None else x)
    has = (rstd is not None, mean is not None)
    apart = stride or channels
    launch(
        _measure_kernel, (samples, cdiv(channels, block_c)), (*steps, payload),
        scales_at, samples * channels, tokens, channels, apart, scale_factor(bits), float(1 << bits),
        *has, int(range_rule(bits)), block_n, block_c, enable_fp_fusion=False,
    )  # fmt: skip
    launch(
        _encode_kernel, (cdiv(numel, 8 * GROUPS),), (*steps, payload),
        scales_at, samples * channels, numel, tokens, channels, apart, (1 << bits) - 0.5, SMALLEST_SCALE,
        *has, bits, GROUPS, is_wide(numel * max(apart // channels, 1)), enable_fp_fusion=False,
    )  # fmt: skip
    return payload


def quantize_channels(x: Tensor, bits: int) -> Tensor:
    """x [B, N, C] as b-bit codes, a bf16 scale and zero per (sample, channel): uint8 [payload_bytes]."""
    check_bits(bits)
    samples, tokens, channels = x.shape
    stride = row_stride(x)
    if stride == 0:
        x, stride = x.contiguous(), channels
    return write_payload(x, (samples, tokens, channels), bits, stride=stride)


def dequantize_channels(
    payload: Tensor, shape: tuple[int, int, int], bits: int, dtype: torch.dtype, out: Tensor | None = None
) -> Tensor:
    """The tensor a payload stands for, [B, N, C] in `dtype`, in `out` if given."""
    samples, tokens, channels = shape
    numel = samples * tokens * channels
    is_direct = out is not None and out.is_contiguous()
    result = out if is_direct and out is not None else torch.empty(tuple(shape), dtype=dtype, device=payload.device)
    if numel:
        launch(
            _decode_kernel, (cdiv(numel, 1024),), (payload, result),
            scales_offset(numel, bits), samples * channels,
            numel, tokens, channels, bits, 1024, is_wide(numel), enable_fp_fusion=False,
        )  # fmt: skip
    if out is not None and not is_direct:
        return out.copy_(result)
    return result
