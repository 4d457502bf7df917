"""`metrics.csv`: one row per epoch, with the columns that were recorded."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

_FIRST = ("epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds")


def metrics_csv(history: Sequence[Mapping[str, Any]]) -> str:
    """CSV text; known columns first, others in the order they appear. A missing value is an empty field."""
    seen = dict.fromkeys(key for row in history for key, value in row.items() if not isinstance(value, (dict, list)))
    columns = [c for c in _FIRST if c in seen] + [c for c in seen if c not in _FIRST]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or ["epoch"], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
