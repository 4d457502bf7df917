"""Lite side branches on channel-pooled features: residual beside each block, or a ladder beside the backbone.

Both see the backbone through parameter-free channel pooling C -> C/k, so whatever they save is C/k wide.
Residual: y = block(x) + up(branch(pool(x))), trained through the backbone. Ladder: s = branch(pool(x.detach()) + s)
from block to block, and the classifier sees features + up(s): no backward through the backbone at all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# A branch works on halved maps of at most MAX_SIDE, but for maps of at most FINE_SIDE: those hold few bytes, and 7 x 7
# made of 4 x 4 lies askew.
MAX_SIDE, FINE_SIDE = 28, 7


def pool_channels(x: Tensor, width: int, dim: int) -> Tensor:
    """Averages of neighbouring channels: axis `dim` of C becomes `width`; fewer than `width` are filled up with zeros.

    Saves nothing for backward.
    """
    channels = x.shape[dim]
    if channels < width:
        shape = [width - channels if axis == dim % x.dim() else size for axis, size in enumerate(x.shape)]
        return torch.cat([x, x.new_zeros(shape)], dim)
    if channels % width == 0:
        return x.unflatten(dim, (width, channels // width)).mean(dim + 1 if dim > 0 else dim)
    share = -(-channels // width)  # the last group repeats the last channels
    index = torch.arange(width * share, device=x.device).clamp_(max=channels - 1)
    return x.index_select(dim, index).unflatten(dim, (width, share)).mean(dim + 1 if dim > 0 else dim)


def _start_at_zero(layer: nn.Linear | nn.Conv2d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class TokenBranch(nn.Module):
    """Linear, ReLU and Linear on pooled tokens: [B, ..., C] -> [B, ..., out]. Starts at zero.

    width² + width·(out + 2) + out parameters; holds 2·width values and a mask of width bits (bytes in stock torch) per
    token.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.width = width
        self.mix = nn.Linear(width, width)
        self.act = nn.ReLU()
        self.up = nn.Linear(width, out)
        _start_at_zero(self.up)

    def forward(self, pooled: Tensor) -> Tensor:
        """pooled: [B, ..., width]."""
        return self.up(self.act(self.mix(pooled)))


class MapBranch(nn.Module):
    """3 x 3 convolution, ReLU and 1 x 1 convolution on pooled, smaller maps: [B, width, h, w] -> [B, out, h, w].

    9·width² + width·(out + 2) + out parameters; holds 2·width values and a mask of width per position of the small map,
    which has a quarter of the block's positions or less where that has more than 7 x 7. Starts at zero. After TinyTL's
    lite residual (Cai et al. 2020).
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.width = width
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.act = nn.ReLU()
        self.up = nn.Conv2d(width, out, 1)
        _start_at_zero(self.up)

    def forward(self, pooled: Tensor) -> Tensor:
        """pooled: [B, width, h, w]."""
        return self.up(self.act(self.mix(pooled)))


def small_size(out_shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width a branch works at for an output [C, H, W]: half of it, at most 28; of maps up to 7 all of it."""
    height, width = (n if n <= FINE_SIDE else min(MAX_SIDE, math.ceil(n / 2)) for n in out_shape[-2:])
    return height, width


class SideResidual(nn.Module):
    """The branch beside one block: forward(x, y) returns y + up(branch(pool(x))). Shapes without the batch.

    x: tokens [N, C] or [H, W, C], or maps [C, H, W] where `channels_first`; y's may have other channels and, for maps,
    another size.
    """

    def __init__(
        self, in_shape: tuple[int, ...], out_shape: tuple[int, ...], channels_first: bool, reduction: int
    ) -> None:
        super().__init__()
        self.channels_first = channels_first
        channels, out = (in_shape[0], out_shape[0]) if channels_first else (in_shape[-1], out_shape[-1])
        width = max(4, channels // reduction)
        self.branch: nn.Module = MapBranch(width, out) if channels_first else TokenBranch(width, out)
        self.width = width
        self.size = small_size(out_shape) if channels_first else None

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """y plus what the branch makes of x, in y's shape and dtype."""
        if not self.channels_first:
            return y + self.branch(pool_channels(x, self.width, -1)).to(y.dtype)
        pooled = functional.adaptive_avg_pool2d(pool_channels(x, self.width, 1), self.size)
        added = functional.interpolate(self.branch(pooled), size=y.shape[-2:], mode="nearest")
        return y + added.to(y.dtype)


class SideLadder(nn.Module):
    """A small network beside the backbone: one rung per block, the last one added to the classifier's input.

    shapes: of each block's output without the batch, tokens [N, C], or maps [H, W, C] or [C, H, W] as `channels_first`
    says; features: width of the classifier's input. Every rung is max(16, C / reduction) wide for the widest C, and
    maps are averaged down to the size of the last: width² + 3·width parameters a rung. The backbone is read detached,
    so nothing of it is held; a rung holds 4·width values per position of the last map.
    """

    def __init__(
        self, shapes: list[tuple[int, ...]], channels_first: list[bool], features: int, reduction: int
    ) -> None:
        super().__init__()
        channels = [shape[0] if first else shape[-1] for shape, first in zip(shapes, channels_first, strict=True)]
        self.width = max(16, max(channels) // reduction)
        self.channels_first = tuple(channels_first)
        last = shapes[-1]
        self.size = (last[-2], last[-1]) if channels_first[-1] else (last[0], last[1])  # of the last map, if it is one
        self.norms = nn.ModuleList(nn.LayerNorm(self.width) for _ in shapes)
        self.rungs = nn.ModuleList(nn.Linear(self.width, self.width) for _ in shapes)
        self.act = nn.GELU()
        self.up = nn.Linear(self.width, features)
        _start_at_zero(self.up)
        self._state: Tensor | None = None

    def climb(self, rung: int, y: Tensor) -> None:
        """Take in the output of block `rung`; rung 0 begins a new forward pass."""
        y = y.detach()
        if y.dim() == 4:
            maps = y if self.channels_first[rung] else y.permute(0, 3, 1, 2)
            y = functional.adaptive_avg_pool2d(maps, self.size).flatten(2).transpose(1, 2)  # [B, positions, C]
        pooled = pool_channels(y, self.width, -1)  # [B, positions, width]
        before = self._state if rung else None
        if before is not None and before.shape[1] == pooled.shape[1]:
            pooled = pooled + before
        self._state = pooled + self.rungs[rung](self.act(self.norms[rung](pooled)))

    def add_to(self, features: Tensor) -> Tensor:
        """The classifier's input [B, ..., features] plus the ladder's mean over positions."""
        state, self._state = self._state, None
        if state is None:
            return features
        added = self.up(state.mean(1)).to(features.dtype)  # [B, features]
        return features + added.reshape(added.shape[0], *(1,) * (features.dim() - 2), -1)
