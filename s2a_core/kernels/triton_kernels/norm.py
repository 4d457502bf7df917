"""Layer and RMS normalisation: a row kernel makes y, mean and 1/std; x̂ goes from x into codes and back into dx."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from s2a_core.kernels.layout import scales_offset
from s2a_core.kernels.reference.norm import grouped
from s2a_core.kernels.sums import column_sum
from s2a_core.kernels.triton_kernels.channels import bf16_value, statistics, write_payload
from s2a_core.kernels.triton_kernels.launch import cdiv, launch, power_of_2
from s2a_core.kernels.triton_kernels.packing import is_wide, load_codes

ROWS = 16  # of dy in a program of the backward: their sums for dw and db are added in registers


@triton.jit
def _norm_fwd_kernel(
    x, weight, bias, y, mean, rstd, C, eps,
    CENTRED: tl.constexpr, HAS_WEIGHT: tl.constexpr, HAS_BIAS: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, BLOCK_C)
    v = tl.load(x + row * C + c, mask=c < C, other=0.0).to(tl.float32)
    if CENTRED:
        average = tl.sum(v, axis=0) / C
        v = tl.where(c < C, v - average, 0.0)
        tl.store(mean + row, average)
    r = tl.div_rn(1.0, tl.sqrt_rn(tl.sum(v * v, axis=0) / C + eps))
    tl.store(rstd + row, r)
    v *= r
    if HAS_WEIGHT:
        v *= tl.load(weight + c, mask=c < C, other=0.0).to(tl.float32)
    if HAS_BIAS:
        v += tl.load(bias + c, mask=c < C, other=0.0).to(tl.float32)
    tl.store(y + row * C + c, v.to(y.dtype.element_ty), mask=c < C)


@triton.jit
def _norm_bwd_kernel(
    dy, packed, rstd, weight, dx, dw, db, scales_at, num_groups, num_rows, N, C,
    CENTRED: tl.constexpr, HAS_WEIGHT: tl.constexpr, NEEDS_DW: tl.constexpr,
    BITS: tl.constexpr, ROWS: tl.constexpr, BLOCK_C: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    scales, zeros = statistics(packed, scales_at, num_groups)
    c = tl.arange(0, BLOCK_C)
    sum_dy = tl.zeros((BLOCK_C,), tl.float32)
    sum_dw = tl.zeros((BLOCK_C,), tl.float32)
    for i in range(ROWS):
        row = pid * ROWS + i
        inside = (c < C) & (row < num_rows)
        channel = (row // N) * C + c
        code = load_codes(packed, row * C + c, inside, BITS).to(tl.float32)
        xhat = code * bf16_value(tl.load(scales + channel, mask=inside, other=0))
        xhat += bf16_value(tl.load(zeros + channel, mask=inside, other=0))
        g = tl.load(dy + row * C + c, mask=inside, other=0.0).to(tl.float32)
        sum_dy += g
        if NEEDS_DW:
            sum_dw += g * xhat
        if HAS_WEIGHT:
            g *= tl.load(weight + c, mask=c < C, other=0.0).to(tl.float32)
        out = g - xhat * (tl.sum(g * xhat, axis=0) / C)
        if CENTRED:
            out -= tl.sum(g, axis=0) / C
        out *= tl.load(rstd + row, mask=row < num_rows, other=0.0)
        tl.store(dx + row * C + c, out.to(dx.dtype.element_ty), mask=inside)
    tl.store(db + pid * C + c, sum_dy, mask=c < C)
    if NEEDS_DW:
        tl.store(dw + pid * C + c, sum_dw, mask=c < C)


def _rows(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, y: Tensor, eps: float, centred: bool
) -> tuple[Tensor, Tensor]:
    """Runs the row kernel into y; returns mean and rstd, fp32 [rows]."""
    channels = x.shape[-1]
    num_rows = x.numel() // max(channels, 1)
    mean = torch.empty(num_rows if centred else 0, dtype=torch.float32, device=x.device)
    rstd = torch.empty(num_rows, dtype=torch.float32, device=x.device)
    if x.numel():
        block = power_of_2(channels)
        operands = (x, x if weight is None else weight, x if bias is None else bias)
        launch(
            _norm_fwd_kernel, (num_rows,), (*operands, y, mean if centred else rstd, rstd),
            channels, eps, centred, weight is not None, bias is not None, block, num_warps=_warps(block),
        )  # fmt: skip
    return mean, rstd


def _warps(block: int) -> int:
    return min(max(block // 256, 1), 16)


def normalize(x: Tensor, eps: float, subtract_mean: bool = True) -> tuple[Tensor, Tensor]:
    """x̂ and 1/std over the last dimension: fp32 [..., C] and fp32 [..., 1]."""
    y = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    _, rstd = _rows(x.contiguous(), None, None, y, eps, subtract_mean)
    return y, rstd.view(*x.shape[:-1], 1)


def norm_fwd(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    bits: int,
    tokens: int,
    subtract_mean: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """y = x̂ * weight + bias, the payload of x̂ [samples, tokens, C], rstd fp32 [..., 1]. x: [..., C]."""
    shape = grouped(x, tokens)
    x = x.contiguous()
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    mean, rstd = _rows(x, weight, bias, y, eps, subtract_mean)
    payload = write_payload(x, shape, bits, mean=mean if subtract_mean else None, rstd=rstd)
    return y, payload, rstd.view(*x.shape[:-1], 1)


def norm_bwd(
    dy: Tensor,
    payload: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    shape: tuple[int, int, int],
    bits: int,
    subtract_mean: bool = True,
    needs_weight_grad: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """dx in dy's dtype, dw (None unless needed) and db in fp32 [C], from x̂'s payload. dy: [..., C]."""
    samples, tokens, channels = shape
    num_rows = samples * tokens
    dy, rstd = dy.contiguous(), rstd.contiguous()
    dx = torch.empty_like(dy)
    programs = cdiv(num_rows, ROWS) if dy.numel() else 0
    db = torch.empty((programs, channels), dtype=torch.float32, device=dy.device)
    dw = torch.empty_like(db) if needs_weight_grad else None
    if programs:
        block = power_of_2(channels)
        results = (dx, db if dw is None else dw, db)
        launch(
            _norm_bwd_kernel, (programs,),
            (dy, payload, rstd, dy if weight is None else weight, *results),
            scales_offset(dy.numel(), bits), samples * channels, num_rows, tokens, channels,
            subtract_mean, weight is not None, needs_weight_grad,
            bits, ROWS, block, is_wide(dy.numel()), num_warps=_warps(block),
        )  # fmt: skip
    return dx, None if dw is None else column_sum(dw), column_sum(db)
