"""How good predictions of the peak were: the distribution of their relative errors, over all and by group."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from app.models import PredictionPair
from app.services.keys import Caller
from app.store import accuracy
from app.store.database import Database

NEWEST = 10_000


def document(pair: PredictionPair) -> dict[str, Any]:
    """A pair as the API shows it; error: (measured - predicted) / predicted, above 0 when too little was promised."""
    return {
        "id": pair.id,
        "model": pair.model,
        "adapter": pair.adapter,
        "device": pair.device,
        "precision": pair.precision,
        "predicted_bytes": pair.predicted_bytes,
        "measured_bytes": pair.measured_bytes,
        "error": error_of(pair),
        "source": pair.source,
        "at": pair.at,
    }


def error_of(pair: PredictionPair) -> float:
    """Relative error of a prediction."""
    return (pair.measured_bytes - pair.predicted_bytes) / max(1, pair.predicted_bytes)


def distribution(errors: Sequence[float]) -> dict[str, Any]:
    """Count, mean, quantiles of the signed errors and of their size, and the share that was promised too little."""
    if not errors:
        return {"count": 0}
    ordered, sizes = sorted(errors), sorted(abs(error) for error in errors)
    return {
        "count": len(errors),
        "mean": statistics.fmean(errors),
        "p05": quantile(ordered, 0.05),
        "p50": quantile(ordered, 0.5),
        "p95": quantile(ordered, 0.95),
        "p99": quantile(ordered, 0.99),
        "median_absolute": quantile(sizes, 0.5),
        "p95_absolute": quantile(sizes, 0.95),
        "share_above_prediction": sum(error > 0 for error in errors) / len(errors),
    }


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile of sorted values, linear between neighbours."""
    place = q * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


class AccuracyService:
    """The pairs of the caller's team, for an admin of every team: what others train is theirs to tell."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def summary(
        self, caller: Caller, device: str | None, model: str | None, limit: int, after: str | None
    ) -> dict[str, Any]:
        """The distribution, by device and by adapter too, and a page of the pairs, newest first."""
        with self.database.reading() as session:
            pairs, _ = accuracy.listed(session, caller.visible_team, device, model, NEWEST)
            page, following = accuracy.listed(session, caller.visible_team, device, model, limit, after)
            groups = {
                name: {
                    value: distribution([error_of(pair) for pair in pairs if getattr(pair, name) == value])
                    for value in sorted({getattr(pair, name) for pair in pairs})
                }
                for name in ("device", "adapter", "precision")
            }
            overall = distribution([error_of(pair) for pair in pairs])
            return {
                "distribution": overall,
                "by": groups,
                "items": [document(pair) for pair in page],
                "next": following,
            }
