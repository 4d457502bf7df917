"""Tables of derivative values: the borders on x and the levels that minimise a weighted mean of (f'(x) - q(x))^2.

Derivatives of GELU, SiLU, Mish and Hardswish are not monotone, so a code names an interval of x, not of f'. On a grid
of x with weights from a histogram, dynamic programming finds the 2^b intervals with the least squared error about their
weighted mean; that is the global optimum on the grid (Few-Bit Backward, Novikov et al. 2022, does the same for a
uniform weight). No constant is stored: `python -m s2a_core.operators` writes every universal table as JSON.

The weight is the square root of the histogram's density, and without a histogram half N(0, 1), half N(-1/4, 3^2): the
inputs of a trained network's activations lie below zero (means -0.6 to -2.1, deviations 0.8 to 1.9 over the layers of
DeiT-tiny). A weight that is even about 0 cannot tell a 3-bit table with a level for the left tail from its mirror:
f'(-x) = 1 - f'(x) for GELU, SiLU and sigmoid. The left one has cosine .9991, the right one .983, on one such layer. The
density itself gives the tails away, where a whole channel may lie, and an error of one sign adds up over its tokens.
Measured on DeiT-tiny's weights and 32 photos (`python -m benchmarks.operators`), cosine of all bias gradients with
GELU coded at 1 / 2 / 3 bits by the universal table: .820 / .973 / .994; at 1 / 2 / 3 / 4 bits by tables fitted to 8
other photos: .916 / .981 / .996 / .9989. Where row 0 is coded like the others (see operators/smooth.py), fitted at
2 / 3 / 4 bits: with the density .953 / .985 / .997, its square root .957 / .991 / .997.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from s2a_core.kernels.curves import Curve
from s2a_core.kernels.layout import check_bits

GRID_POINTS = 1024
GRID_POINTS_FITTED = 512  # as many as a histogram has bins; a tenth of the time
MOST_BITS_EXACT = 5  # the exact search takes 0.5 s for 32 levels, ten for 256
WIDEST_X = 8.0  # beyond it f' has met its limits


@dataclass(frozen=True)
class Histogram:
    """Where a site's inputs lie: `counts` of equal bins over [low, high]."""

    low: float
    high: float
    counts: tuple[float, ...]

    @classmethod
    def of(cls, x: Tensor, bins: int = 512) -> Histogram:
        """Histogram of the finite values of x. x: any shape."""
        values = x.detach().reshape(-1).to(torch.float32)
        values = values[torch.isfinite(values)]
        if values.numel() == 0:
            return cls(-1.0, 1.0, (1.0,) * bins)
        low, high = float(values.min()), float(values.max())
        if high <= low:
            low, high = low - 0.5, high + 0.5
        return cls(low, high, tuple(torch.histc(values, bins, low, high).tolist()))


@dataclass(frozen=True)
class DerivativeTable:
    """levels[number of borders at or below x] stands for f'(x). 2^bits levels, 2^bits - 1 ascending borders.

    Borders are exact in bf16 (and fp16), so that every input dtype gets the same code for the same value.
    """

    bits: int
    border_values: tuple[float, ...]
    level_values: tuple[float, ...]

    @functools.cached_property
    def borders(self) -> Tensor:
        """fp32 [2^bits - 1] on the CPU."""
        return torch.tensor(self.border_values, dtype=torch.float32)

    @functools.cached_property
    def levels(self) -> Tensor:
        """fp32 [2^bits] on the CPU."""
        return torch.tensor(self.level_values, dtype=torch.float32)

    def on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Borders and levels on a device, stored for the next call."""
        pair = self._on_devices.get(device)
        if pair is None:
            pair = self._on_devices[device] = self.borders.to(device), self.levels.to(device)
        return pair

    @functools.cached_property
    def _on_devices(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        """By device; here, as to look a table up by its numbers takes as long as a launch."""
        return {}


@functools.lru_cache(maxsize=4096)
def known_table(bits: int, border_values: tuple[float, ...], level_values: tuple[float, ...]) -> DerivativeTable:
    """The table of these numbers, the same object each time, so that its tensors are made once."""
    return DerivativeTable(bits, border_values, level_values)


@functools.lru_cache(maxsize=4096)
def fit_table(curve: Curve, bits: int, histogram: Histogram | None = None) -> DerivativeTable:
    """The best table of `bits` bits for an activation on inputs like `histogram`, or on any. Cached."""
    check_bits(bits)
    x, weight = _grid(histogram, GRID_POINTS if histogram is None else GRID_POINTS_FITTED)
    derivative = curve.derivative(x)
    if bits > MOST_BITS_EXACT:
        cuts = _even_cuts(derivative, weight, 1 << bits)
    else:
        cuts = _best_cuts(derivative, weight, 1 << bits)
    # a border lies midway between its grid points, then where bf16 has a number
    borders = ((x[cuts - 1] + x[cuts]) / 2).to(torch.bfloat16).to(torch.float64)
    fine = torch.linspace(float(x[0]), float(x[-1]), 16 * len(x), dtype=torch.float64)
    density = torch.zeros_like(fine)
    nearest = ((fine - x[0]) / (x[-1] - x[0]) * (len(x) - 1)).round_().long()
    density += weight[nearest]
    code = torch.bucketize(fine, borders, right=True)
    mass = torch.zeros(1 << bits, dtype=torch.float64).index_add_(0, code, density)
    moment = torch.zeros_like(mass).index_add_(0, code, density * curve.derivative(fine))
    centres = torch.cat([x[:1], (borders[1:] + borders[:-1]) / 2, x[-1:]])
    levels = torch.where(mass > 0, moment / mass.clamp_min(1e-300), curve.derivative(centres))
    return DerivativeTable(bits, tuple(borders.tolist()), tuple(levels.to(torch.float32).tolist()))


def _grid(histogram: Histogram | None, points: int) -> tuple[Tensor, Tensor]:
    """Grid points in float64 and a positive weight for each."""
    if histogram is None:
        x = torch.linspace(-WIDEST_X, WIDEST_X, points, dtype=torch.float64)
        return x, torch.exp(-0.5 * x * x) + torch.exp(-0.5 * ((x + 0.25) / 3.0) ** 2) / 3.0
    width = (histogram.high - histogram.low) / len(histogram.counts)
    counts = torch.tensor(histogram.counts, dtype=torch.float64).sqrt_()
    # outside +-WIDEST_X every derivative here is flat: a bin there needs no resolution, only its weight
    low, high = max(histogram.low, -WIDEST_X), min(histogram.high, WIDEST_X)
    if high <= low:
        low, high = -WIDEST_X, WIDEST_X
    x = torch.linspace(low, high, points, dtype=torch.float64)
    spread = max(1, -(-2 * points // len(counts)))
    offsets = (torch.arange(spread, dtype=torch.float64) + 0.5) / spread
    positions = histogram.low + width * (torch.arange(len(counts), dtype=torch.float64)[:, None] + offsets)
    nearest = ((positions - low) / (high - low) * (points - 1)).round_().clamp_(0, points - 1).long()
    weight = torch.zeros(points, dtype=torch.float64)
    weight.index_add_(0, nearest.reshape(-1), (counts[:, None] / spread).expand(-1, spread).reshape(-1))
    return x, weight / weight.sum() + 1e-12


def _best_cuts(value: Tensor, weight: Tensor, num_levels: int) -> Tensor:
    """First grid index of intervals 1 .. num_levels - 1 of the partition with the least weighted squared error.

    error[k, j] = min over i of error[k - 1, i] + cost(i, j), cost(i, j) = sum w v^2 - (sum w v)^2 / sum w over [i, j).
    """
    n = len(value)
    zero = torch.zeros(1, dtype=torch.float64)
    w = torch.cat([zero, weight.cumsum(0)])
    wv = torch.cat([zero, (weight * value).cumsum(0)])
    wvv = torch.cat([zero, (weight * value * value).cumsum(0)])
    # cost[i, j] of the interval [i, j), infinite unless i < j
    mass = (w[None, :] - w[:, None]).clamp_min_(1e-300)
    cost = (wvv[None, :] - wvv[:, None]) - (wv[None, :] - wv[:, None]).square_() / mass
    cost.clamp_min_(0.0).masked_fill_(torch.ones(n + 1, n + 1, dtype=torch.bool).tril_(), float("inf"))
    error = cost[0]
    choices = []
    for _ in range(num_levels - 1):
        error, choice = (error[:, None] + cost).min(0)
        choices.append(choice)
    cuts = []
    end = n
    for choice in reversed(choices):
        end = int(choice[end])
        cuts.append(end)
    return torch.tensor(cuts[::-1])


def _even_cuts(value: Tensor, weight: Tensor, num_levels: int) -> Tensor:
    """First grid index of intervals 1 .. num_levels - 1 when many: density of levels ~ (weight * slope^2)^(1/3).

    Optimal in the limit of many levels (Panter and Dite 1951); a hundredth of the levels is spread evenly.
    """
    slope = torch.gradient(value)[0].abs()
    density = (weight * slope.square()).pow(1 / 3)
    density += density.mean() * 1e-2
    mass = density.cumsum(0) / density.sum()
    targets = torch.arange(1, num_levels, dtype=torch.float64) / num_levels
    cuts = torch.searchsorted(mass, targets) + 1
    # strictly increasing, inside the grid
    steps = torch.arange(len(cuts))
    cuts = torch.cummax(cuts - steps, 0).values + steps
    return torch.minimum(cuts, len(value) - len(cuts) + steps)
