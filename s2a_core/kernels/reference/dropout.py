"""Dropout that keeps one bit an element."""

from __future__ import annotations

import torch
from torch import Tensor

from s2a_core.kernels.reference.packing import pack, unpack


def dropout_fwd(x: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """x with a share p of its elements zeroed and the rest divided by 1 - p, and the kept ones as bits.

    x: any shape. The mask is stock dropout's: drawn from the device's default generator in the order of x's memory.
    """
    y, keep = dropped(x, p)
    return y, pack(keep, 1)


def dropout_bwd(dy: Tensor, payload: Tensor, p: float) -> Tensor:
    """The exact gradient. dy: any shape."""
    return _scaled(dy, unpack(payload, 1, dy.numel()).view(dy.shape), p)


def dropped(x: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """x with a share p of its elements zeroed and the rest divided by 1 - p, and 1 for the kept ones, uint8 like x."""
    keep = torch.empty_like(x, dtype=torch.uint8).bernoulli_(1.0 - p)
    return _scaled(x, keep, p), keep


def _scaled(x: Tensor, keep: Tensor, p: float) -> Tensor:
    if p >= 1.0:
        return torch.zeros_like(x)
    return torch.where(keep.view(torch.bool), x * (1.0 / (1.0 - p)), 0.0)
