"""The order in which the elements of a tensor are coded, and how a payload remembers it.

Codes follow memory: a channels-last tensor is coded as it lies, without a copy. Its payload has shape [bytes, 1]
instead of [bytes], which is how backward knows to read dy in the same order.
"""

from __future__ import annotations

import torch
from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """A dense [B, C, H, W] tensor that lies as [B, H, W, C] and not also as [B, C, H, W]."""
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def in_memory_order(x: Tensor) -> Tensor:
    """x as a contiguous tensor: itself, its channels-last permutation, or a copy."""
    return x.permute(0, 2, 3, 1) if is_channels_last(x) else x.contiguous()


def mark(payload: Tensor, x: Tensor) -> Tensor:
    """The payload of x, shaped to tell its order."""
    return payload.view(-1, 1) if is_channels_last(x) else payload


def in_payload_order(dy: Tensor, payload: Tensor) -> Tensor:
    """dy as it was coded: a contiguous tensor whose i-th element belongs to code i."""
    if payload.dim() == 2:
        return dy.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    return dy.contiguous()


def back_in_place(dx: Tensor, payload: Tensor) -> Tensor:
    """A result in payload order with the dimensions of the tensor again."""
    return dx.permute(0, 3, 1, 2) if payload.dim() == 2 else dx
