"""Max-pooling: forward scans the window and packs the offset, backward gathers from the windows over a pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from s2a_core.kernels.layout import packed_bytes
from s2a_core.kernels.reference.pooling import Pair, offset_bits, pair
from s2a_core.kernels.triton_kernels.launch import cdiv, launch
from s2a_core.kernels.triton_kernels.packing import is_wide, load_codes, store_codes

GROUPS = 32
BLOCK = 256


@triton.jit
def _maxpool2d_fwd_kernel(
    x, y, out, numel, H, W, OH, OW, SH, SW, PH, PW, DH, DW,
    KH: tl.constexpr, KW: tl.constexpr, BITS: tl.constexpr, GROUPS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    index = (pid * GROUPS + tl.arange(0, GROUPS))[:, None] * 8 + tl.arange(0, 8)[None, :]
    inside = index < numel
    top = (index // OW) % OH * SH - PH
    left = index % OW * SW - PW
    base = index // (OH * OW) * H * W
    best = tl.full((GROUPS, 8), float("-inf"), tl.float32)
    code = tl.full((GROUPS, 8), -1, tl.int32)
    for i in range(KH):
        for j in range(KW):
            h = top + i * DH
            w = left + j * DW
            valid = inside & (h >= 0) & (h < H) & (w >= 0) & (w < W)
            v = tl.load(x + base + h * W + w, mask=valid, other=0.0).to(tl.float32)
            is_better = valid & ((v > best) | (v != v) | (code < 0))  # the first maximum, or the last NaN, as PyTorch
            best = tl.where(is_better, v, best)
            code = tl.where(is_better, i * KW + j, code)
    tl.store(y + index, best.to(y.dtype.element_ty), mask=inside)
    store_codes(tl.where(inside, code, 0), out, pid * GROUPS, numel, BITS, GROUPS)


@triton.jit
def _maxpool2d_bwd_kernel(
    dy, packed, dx, numel, H, W, OH, OW, SH, SW, PH, PW, DH, DW,
    KH: tl.constexpr, KW: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    if WIDE:
        pid = pid.to(tl.int64)
    index = pid * BLOCK + tl.arange(0, BLOCK)
    base = index // (H * W) * OH * OW
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(KH):
        for j in range(KW):
            h = (index // W) % H + PH - i * DH
            w = index % W + PW - j * DW
            oh = h // SH
            ow = w // SW
            valid = (index < numel) & (h >= 0) & (w >= 0) & (h % SH == 0) & (w % SW == 0) & (oh < OH) & (ow < OW)
            at = tl.where(valid, base + oh * OW + ow, 0)
            code = load_codes(packed, at, valid, BITS)
            g = tl.load(dy + at, mask=valid & (code == i * KW + j), other=0.0)
            total += g.to(tl.float32)
    tl.store(dx + index, total.to(dx.dtype.element_ty), mask=index < numel)


def maxpool2d_fwd(
    x: Tensor,
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """max_pool2d of x [B, C, H, W] and packed offsets in the window, 4 bits up to 16 positions."""
    k, p, d = pair(kernel), pair(padding), pair(dilation)
    s = k if stride is None else pair(stride)
    bits = offset_bits(k)
    # the output's size, with PyTorch's own checks of the options, from a tensor without memory
    size = F.max_pool2d(torch.empty(x.shape, device="meta"), k, s, p, d, ceil_mode).shape
    y = torch.empty(size, dtype=x.dtype, device=x.device)
    payload = torch.empty(packed_bytes(y.numel(), bits), dtype=torch.uint8, device=x.device)
    if y.numel():
        launch(
            _maxpool2d_fwd_kernel, (cdiv(y.numel(), 8 * GROUPS),), (x.contiguous(), y, payload),
            y.numel(), *x.shape[-2:], *size[-2:], *s, *p, *d,
            *k, bits, GROUPS, is_wide(max(x.numel(), y.numel())),
        )  # fmt: skip
    return y, payload


def maxpool2d_bwd(
    dy: Tensor,
    payload: Tensor,
    shape: tuple[int, ...],
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> Tensor:
    """The exact gradient of x [shape]; every pixel sums its windows in one order, without atomics."""
    k, p, d = pair(kernel), pair(padding), pair(dilation)
    s = k if stride is None else pair(stride)
    dx = torch.empty(tuple(shape), dtype=dy.dtype, device=dy.device)
    if dx.numel():
        launch(
            _maxpool2d_bwd_kernel, (cdiv(dx.numel(), BLOCK),), (dy.contiguous(), payload, dx),
            dx.numel(), *shape[-2:], *dy.shape[-2:], *s, *p, *d,
            *k, offset_bits(k), BLOCK, is_wide(max(dx.numel(), dy.numel())),
        )  # fmt: skip
    return dx
