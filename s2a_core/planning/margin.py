"""The margin kept free on top of a predicted peak: a quantile of how far measurements lay above predictions."""

from __future__ import annotations

from collections.abc import Sequence

QUANTILE = 0.95
MIN_PAIRS = 20
# Of what moves in a step, whatever was measured: what the grid of scripts/peak_grid.py needs.
SHARE_OF_MOVING = 0.005


def error_share(errors: Sequence[float]) -> float:
    """Share of the predicted peak to keep free; errors: measured / predicted - 1, of one kind of device.

    The 95 % quantile, never negative; nothing below 20 pairs.
    """
    if len(errors) < MIN_PAIRS:
        return 0.0
    ordered = sorted(errors)
    return max(ordered[min(int(QUANTILE * len(ordered)), len(ordered) - 1)], 0.0)
