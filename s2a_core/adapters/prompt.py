"""The low-rank prompt: y = x + A·B added to a map of tokens or pixels; saves nothing for backward."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LowRankPrompt(nn.Module):
    """Adds A·B, A [positions, rank], B [rank, channels], to x [B, ..., C] (tokens) or [B, C, H, W] (maps).

    (positions + channels) * rank parameters; starts as the identity, for B is zero. Its gradient needs A, B and the
    sum of the output's gradient over the batch: 0 bytes are held. Source: the summary of S2A's prompt module; rank and
    place are our choice.
    """

    def __init__(self, shape: tuple[int, ...], channels_first: bool, rank: int) -> None:
        super().__init__()
        channels = shape[0] if channels_first else shape[-1]
        positions = 1
        for size in shape[1:] if channels_first else shape[:-1]:
            positions *= size
        self.shape, self.channels_first = tuple(shape), channels_first
        self.A = nn.Parameter(torch.randn(positions, rank) * rank**-0.5)
        self.B = nn.Parameter(torch.zeros(rank, channels))

    def forward(self, x: Tensor) -> Tensor:
        """x + A·B, of x's shape and dtype."""
        added = self.A @ self.B  # [positions, C]
        if self.channels_first:
            return x + added.t().reshape(self.shape).to(x.dtype)
        return x + added.reshape(self.shape).to(x.dtype)
