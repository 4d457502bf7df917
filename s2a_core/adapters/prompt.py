"""The low-rank prompt: y = x + A·B added to a map of tokens or pixels; saves nothing for backward."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

MAX_GRID = 14  # maps larger than this share a prompt between neighbouring pixels


class LowRankPrompt(nn.Module):
    """Adds A·B, A [positions, rank], B [rank, channels], to x [B, ..., C] (tokens) or [B, C, H, W] (maps).

    (positions + channels) * rank parameters; starts as the identity, for B is zero. Its gradient needs A, B and the
    sum of the output's gradient over the batch: 0 bytes are held. On maps positions are those of a grid of at most
    14 x 14, enlarged. Source: the summary of S2A's prompt module; rank and place are our choice.
    """

    def __init__(self, shape: tuple[int, ...], channels_first: bool, rank: int) -> None:
        super().__init__()
        self.shape, self.channels_first = tuple(shape), channels_first
        if channels_first:
            channels, self.grid = shape[0], (min(shape[1], MAX_GRID), min(shape[2], MAX_GRID))
            positions = self.grid[0] * self.grid[1]
        else:
            channels, positions = shape[-1], math.prod(shape[:-1])
        self.A = nn.Parameter(torch.randn(positions, rank) * rank**-0.5)
        self.B = nn.Parameter(torch.zeros(rank, channels))

    def forward(self, x: Tensor) -> Tensor:
        """x + A·B, of x's shape and dtype."""
        added = self.A @ self.B  # [positions, C]
        if not self.channels_first:
            return x + added.reshape(self.shape).to(x.dtype)
        grid = added.t().reshape(1, self.shape[0], *self.grid)  # [1, C, h, w]
        if self.grid != self.shape[1:]:
            grid = functional.interpolate(grid, size=self.shape[1:], mode="nearest")
        return x + grid.to(x.dtype)
