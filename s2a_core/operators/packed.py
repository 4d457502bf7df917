"""Tensors as packed b-bit codes: which layout groups them, how they go in and come back.

A group shares one scale and one zero. For token maps a group is one channel over the tokens of a sample, for
C x H x W maps one channel over the positions; per-token groups fail at 2 bits (cosine 0.02 against 0.98).
Attention operands [B, H, N, D] that lie as slices of one [B, N, 3, H, D] product are coded as [B, N, H * D], the order
they have in memory: the groups are the same, and nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from s2a_core import kernels

Layout = Literal["tokens", "maps", "heads", "channels_last"]


@dataclass(frozen=True)
class PackedShape:
    """What is needed beside the payload to rebuild a tensor. Holds no tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    bits: int
    layout: Layout

    @property
    def grouped(self) -> tuple[int, int, int]:
        """[samples, tokens, channels] as the kernels see the tensor."""
        return grouped_shape(self.shape, self.layout)


def grouped_shape(shape: tuple[int, ...], layout: Layout) -> tuple[int, int, int]:
    """[B, N, C] view of a shape: the last dimension is the channel, or dimension 1 of a map."""
    numel = 1
    for size in shape:
        numel *= size
    if layout == "heads":
        batch, heads, tokens, channels = shape
        return batch, tokens, heads * channels
    if layout == "channels_last":
        batch, channels, height, width = shape
        return batch, height * width, channels
    if layout == "maps" and len(shape) > 2:
        rows = shape[0] * shape[1]
        return rows, numel // max(rows, 1), 1
    channels = shape[-1] if shape else 1
    rows = shape[0] if len(shape) > 2 else 1
    if len(shape) == 4 and layout == "tokens":
        rows = shape[0] * shape[1]
    return rows, numel // max(rows * channels, 1), channels


def lies_by_tokens(x: Tensor) -> bool:
    """Whether x [B, H, N, D] has the heads of a token side by side in memory, and so [B, N, H * D] as a view."""
    if x.dim() != 4 or x.numel() == 0:
        return False
    by_token = x.transpose(1, 2)
    return bool(by_token.stride(3) == 1 and by_token.stride(2) == by_token.shape[3] and not x.is_contiguous())


def layout_of(x: Tensor, op: str) -> Layout:
    """Layout of a saved tensor: attention operands are token maps, other contiguous 4-d tensors are C x H x W maps."""
    if x.dim() == 4 and op not in _TOKEN_OPS and x.is_contiguous():
        return "maps"
    return "tokens"


_TOKEN_OPS = frozenset({
    "matmul", "bmm", "baddbmm", "softmax", "einsum", "attention", "layer_norm", "linear",
    "low_rank_linear",
})  # fmt: skip


def encode(x: Tensor, bits: int, layout: Layout = "tokens") -> tuple[Tensor, PackedShape]:
    """Codes of x and what rebuilds it. x: any shape, fp32/bf16/fp16. The payload holds codes, scales and zeros."""
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        layout, x_grouped = "channels_last", x.permute(0, 2, 3, 1).flatten(1, 2)  # B C H W -> B HW C, without a copy
    elif layout == "tokens" and lies_by_tokens(x):
        layout, x_grouped = "heads", x.transpose(1, 2).flatten(2)  # B H N D -> B N HD, without a copy
    else:
        x_grouped = x.reshape(grouped_shape(tuple(x.shape), layout))
    packed = PackedShape(tuple(x.shape), x.dtype, bits, layout)
    return kernels.quantize_channels(x_grouped, bits), packed


def decode(payload: Tensor, packed: PackedShape) -> Tensor:
    """The tensor `encode` was given, up to its codes' error, lying in memory as that did."""
    x = kernels.dequantize_channels(payload, packed.grouped, packed.bits, packed.dtype)
    if packed.layout == "heads":
        batch, heads, tokens, channels = packed.shape
        return x.view(batch, tokens, heads, channels).transpose(1, 2)
    if packed.layout == "channels_last":
        batch, channels, height, width = packed.shape
        return x.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return x.reshape(packed.shape)
