"""Max-pooling that keeps the offset of the maximum inside its window: 4 bits for windows up to 16, exact."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from s2a_core.kernels.layout import BITS
from s2a_core.kernels.reference.packing import pack, unpack

Pair = tuple[int, int]


def pair(value: int | Pair) -> Pair:
    """(height, width) of an option that may be one number, alone or in a tuple."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def offset_bits(kernel: Pair) -> int:
    """Bits of an offset in the window; windows beyond 256 positions are refused."""
    size = kernel[0] * kernel[1]
    for bits in BITS:
        if size <= 1 << bits:
            return bits
    raise ValueError(f"a pooling window has at most 256 positions, not {size}")


def maxpool2d_fwd(
    x: Tensor,
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """max_pool2d and the offsets, row-major over [B, C, oH, oW]. x: [B, C, H, W] or [C, H, W]."""
    k, p, d = pair(kernel), pair(padding), pair(dilation)
    s = k if stride is None else pair(stride)
    bits = offset_bits(k)
    maps = x if x.dim() == 4 else x.unsqueeze(0)
    width = maps.shape[-1]
    results, codes = [], []
    for sample in maps.split(1):  # PyTorch's own index is int64: one sample of it at a time
        y, position = F.max_pool2d(sample, k, s, p, d, ceil_mode, return_indices=True)
        row, column = position // width, position % width
        top, left = _corners(y.shape[-2:], s, p, y.device)
        codes.append((((row - top) // d[0]) * k[1] + (column - left) // d[1]).to(torch.uint8))
        results.append(y)
    if not results:
        return F.max_pool2d(maps, k, s, p, d, ceil_mode), torch.empty(0, dtype=torch.uint8, device=x.device)
    y = torch.cat(results)
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        y = y.contiguous(memory_format=torch.channels_last)
    return (y if x.dim() == 4 else y.squeeze(0)), pack(torch.cat(codes), bits)


def maxpool2d_bwd(
    dy: Tensor,
    payload: Tensor,
    shape: tuple[int, ...],
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> Tensor:
    """The exact gradient of x. dy: [B, C, oH, oW]; shape: x's; the options as in forward."""
    k, p, d = pair(kernel), pair(padding), pair(dilation)
    s = k if stride is None else pair(stride)
    grads = dy if dy.dim() == 4 else dy.unsqueeze(0)
    batch, channels, out_height, out_width = grads.shape
    height, width = shape[-2:]
    offsets = unpack(payload, offset_bits(k), grads.numel()).view(grads.shape)
    dx = torch.zeros((batch, channels, height * width), dtype=dy.dtype, device=dy.device)
    top, left = _corners((out_height, out_width), s, p, dy.device)
    for i in range(batch):
        offset = offsets[i].to(torch.int64)
        position = (top + offset // k[1] * d[0]) * width + left + offset % k[1] * d[1]
        dx[i].scatter_add_(1, position.view(channels, -1), grads[i].reshape(channels, -1))
    return dx.view(shape)


def _corners(size: torch.Size | Pair, stride: Pair, padding: Pair, device: torch.device) -> tuple[Tensor, Tensor]:
    """First row [oH, 1] and first column [oW] of every window, in x's coordinates."""
    top = torch.arange(size[0], device=device) * stride[0] - padding[0]
    left = torch.arange(size[1], device=device) * stride[1] - padding[1]
    return top.view(-1, 1), left
