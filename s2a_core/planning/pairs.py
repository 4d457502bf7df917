"""(predicted, measured) peaks of verified plans, as JSON lines: what the margin is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from s2a_core.planning.types import Plan


@dataclass(frozen=True)
class PeakPair:
    """A prediction, without its margin, and what was measured for it."""

    model: str
    adapter: str
    precision: str
    device: str
    predicted_bytes: int
    measured_bytes: int

    @classmethod
    def of(cls, plan: Plan, measured_bytes: int) -> PeakPair:
        """Of a plan that ran."""
        predicted = plan.predicted.peak_bytes - plan.predicted.breakdown.get("margin", 0)
        return cls(plan.model, plan.adapter, plan.precision, plan.device, predicted, measured_bytes)

    @property
    def error(self) -> float:
        """How far the measurement lies above the prediction, as a share of it; negative where it lies below."""
        return self.measured_bytes / max(self.predicted_bytes, 1) - 1


def record(path: Path, pair: PeakPair) -> None:
    """Adds one pair to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(vars(pair)) + "\n")


def recorded(path: Path) -> list[PeakPair]:
    """The pairs of a file, none where it is not there; an unfinished last line is left out."""
    if not path.is_file():
        return []
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            pairs.append(PeakPair(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):
            continue
    return pairs
