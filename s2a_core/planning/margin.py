"""The margin kept free on top of a predicted peak: a quantile of how far measurements lay above predictions."""

from __future__ import annotations

from collections.abc import Sequence

QUANTILE = 0.95
MIN_PAIRS = 20
# Until there are enough pairs: what the grid of scripts/peak_grid.py needs, as a share of the predicted peak.
DEFAULT = 0.005


def margin_share(errors: Sequence[float], default: float = DEFAULT) -> float:
    """Share of the predicted peak to keep free; errors: measured / predicted - 1, of one kind of device.

    The 95 % quantile, never negative; `default` below 20 pairs.
    """
    if len(errors) < MIN_PAIRS:
        return default
    ordered = sorted(errors)
    return max(ordered[min(int(QUANTILE * len(ordered)), len(ordered) - 1)], 0.0)
