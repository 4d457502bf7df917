"""Dropout that keeps one bit an element: the mask is drawn by PyTorch, packed by one kernel and read by another."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from s2a_core.kernels.reference.dropout import dropped
from s2a_core.kernels.triton_kernels.activation import scaled_by_codes
from s2a_core.kernels.triton_kernels.packing import pack


def dropout_fwd(x: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """x with a share p of its elements zeroed and the rest divided by 1 - p, and the kept ones as bits."""
    y, keep = dropped(x, p)
    return y, pack(keep, 1)


def dropout_bwd(dy: Tensor, payload: Tensor, p: float) -> Tensor:
    """The exact gradient. dy: any shape."""
    return scaled_by_codes(dy, payload, 1, _factors(p, dy.device))


@functools.lru_cache(maxsize=256)
def _factors(p: float, device: torch.device) -> Tensor:
    """Of a dropped element and of a kept one; on the device once."""
    return torch.tensor([0.0, 1.0 / (1.0 - p) if p < 1.0 else 0.0], device=device)
