"""The one result file of a benchmark run: what was measured, on what, when, by which command."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

VERSION = 1
PACKAGES = ("torch", "timm", "peft", "numpy", "scipy")


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of repeated measurements."""

    median: float
    low: float
    high: float
    num: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class Row:
    """One contestant on one model. Bytes are integers, None where `reason` says why there is no number."""

    model: str
    contestant: str
    kind: str
    precision: str
    image_size: int
    batches: tuple[int, int]
    weights: str
    device: str
    trainable_params: int | None = None
    model_bytes: int | None = None
    held_bytes_per_sample: int | None = None
    peak_bytes_per_sample: int | None = None
    peak_bytes: int | None = None
    step_ratio_to_bias: Spread | None = None
    gradient_cosine: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Curve:
    """Peak bytes and step time of one contestant as one quantity grows."""

    model: str
    contestant: str
    precision: str
    quantity: str
    values: tuple[int, ...]
    peak_bytes: tuple[int, ...]
    step_ms: tuple[float, ...]


@dataclass(frozen=True)
class PlannerRun:
    """One solve: how long it took, and the error of optimal, greedy and uniform choices at equal bytes."""

    num_sites: int
    seconds: float
    gap: float
    error_optimal: float
    error_greedy: float
    error_uniform: float


@dataclass(frozen=True)
class PredictionRun:
    """Whole peak of one training step at `batch`: measured, and as each predictor said it before. None: it cannot."""

    model: str
    way: str
    batch: int
    measured_bytes: int
    ours_bytes: int
    two_point_bytes: int
    mem_tracker_bytes: int | None


@dataclass(frozen=True)
class BudgetRun:
    """One training step of a plan inside a budget, and what full fine-tuning would need for the same batch."""

    model: str
    batch: int
    full_bytes: int
    budget_bytes: int
    micro_batch: int
    mean_bits: float
    predicted_bytes: int
    measured_bytes: int
    gradient_cosine: float
    step_ratio_to_bias: Spread


@dataclass(frozen=True)
class OverheadRun:
    """Step time of a way of storing over stock bias tuning's; and milliseconds of a step by operator, largest first."""

    model: str
    way: str
    batch: int
    ratio: Spread
    operators_ms: dict[str, float]


@dataclass(frozen=True)
class Results:
    """Everything one run measured. seconds: the whole run's."""

    command: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    rows: tuple[Row, ...] = ()
    curves: tuple[Curve, ...] = ()
    planner: tuple[PlannerRun, ...] = ()
    predictions: tuple[PredictionRun, ...] = ()
    budgets: tuple[BudgetRun, ...] = ()
    overhead: tuple[OverheadRun, ...] = ()
    floors: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: float = 0.0
    version: int = VERSION

    def write(self, path: Path) -> None:
        """Write as JSON, readable in a diff."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what `write` wrote; ValueError for another version."""
        raw = json.loads(path.read_text())
        if raw["version"] != VERSION:
            raise ValueError(f"{path} is of version {raw['version']}, this program reads {VERSION}: run `make bench`")
        raw["rows"] = tuple(_row(row) for row in raw["rows"])
        raw["curves"] = tuple(
            Curve(**{key: tuple(v) if isinstance(v, list) else v for key, v in curve.items()})  # type: ignore[arg-type]
            for curve in raw["curves"]
        )
        raw["planner"] = tuple(PlannerRun(**run) for run in raw["planner"])
        raw["predictions"] = tuple(PredictionRun(**run) for run in raw.get("predictions", ()))
        raw["budgets"] = tuple(
            BudgetRun(**{**run, "step_ratio_to_bias": Spread(**run["step_ratio_to_bias"])})
            for run in raw.get("budgets", ())
        )
        raw["overhead"] = tuple(
            OverheadRun(**{**run, "ratio": Spread(**run["ratio"])}) for run in raw.get("overhead", ())
        )
        return cls(**raw)


def _row(raw: dict[str, Any]) -> Row:
    spread = raw.pop("step_ratio_to_bias")
    batches = tuple(raw.pop("batches"))
    return Row(**raw, batches=batches, step_ratio_to_bias=Spread(**spread) if spread else None)


def provenance(command: str, device: str, num_threads: int) -> dict[str, Any]:
    """The fields of Results that say where the numbers come from."""
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "device": device,
            "processor": platform.machine(),
            "num_threads": num_threads,
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }
