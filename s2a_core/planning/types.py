"""What a plan holds, and its document. Imports no torch."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from s2a_core.errors import InvalidInput
from s2a_core.pictures import draw_plan, plan_html
from s2a_core.planning.peak import Peak
from s2a_core.planning.scoring import (
    Cut,
    gradient_error,
    is_host_bound,
    launches,
    mean_bits,
    relative_step_time,
    weight_error,
)
from s2a_core.planning.uniform import uniform_choice
from s2a_core.profiling.types import Profile
from s2a_core.sides import ImageSize
from s2a_core.sizes import format_bytes
from s2a_core.storage import FittedTable, FrozenWeights, Optimizer, Storage, StoragePolicy, WeightFormat, weight_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERSION = 1


@dataclass(frozen=True)
class Predicted:
    """What the plan promises. gradient_error: relative L2; relative_step_time: against the adapter's exact step;
    weight_error: of the gradient, as gradient_error, by what of the weights is coded.

    On CUDA, of a step's micro-batches: launches of kernels, and whether the device waits for the host to launch them.
    needed_bytes: what the plan was made for of its budget, on CUDA with what a capped allocator may need at worst.
    """

    peak_bytes: int
    breakdown: Mapping[str, int]
    gradient_error: float
    relative_step_time: float
    launches: int | None = None
    is_host_bound: bool | None = None
    needed_bytes: int = 0
    weight_error: float = 0.0


@dataclass(frozen=True)
class SolverReport:
    """How the plan was found. gap: relative distance to the proven optimum."""

    status: str
    gap: float
    seconds: float


@dataclass(frozen=True)
class FrontierPoint:
    """What another budget would buy. gradient_error: with that of weights which may stay numbers."""

    budget_bytes: int
    peak_bytes: int
    gradient_error: float
    relative_step_time: float
    micro_batch: int


@dataclass(frozen=True)
class Baseline:
    """What another way of training would need for the same batch."""

    name: str
    peak_bytes: int


@dataclass(frozen=True)
class Alternative:
    """Another adapter, precision or weight format that was looked at; no peak where nothing fits.

    step_ms_per_sample: of training.
    """

    adapter: str
    precision: str
    min_feasible_budget_bytes: int
    peak_bytes: int | None = None
    gradient_error: float | None = None
    step_ms_per_sample: float | None = None
    weight_format: WeightFormat = "float"

    @property
    def name(self) -> str:
        """`bias in bf16 with int8 weights`."""
        return f"{self.adapter} in {self.precision}{weight_words(self.weight_format)}"


@dataclass(frozen=True)
class Plan:
    """Adapter, storage per site, micro-batch, accumulation, precision and chunking, with the peak they lead to.

    held_by_storage: `exact`, `b4`, `region b8` ... -> bytes held for backward by one micro-batch.
    tables: derivative tables of the sites whose width has a fitted one.
    min_feasible_budget_bytes: the smallest budget that anything the request leaves open is planned for; None where that
    was not measured, as in a run.
    wide_weights: those of the weights that weight_format codes elsewhere which stay numbers, by name.
    task, task_reason: what it is trained for, and how that was known.
    measured_peak_bytes, measured_gradient_error: of real steps, where the plan was verified and an exact step fits.
    """

    model: str
    adapter: str
    image_size: ImageSize
    precision: str
    device: str
    batch_size: int
    micro_batch: int
    accumulation: int
    chunk_samples: int
    frozen_weights: FrozenWeights
    sites: Mapping[str, Storage]
    mean_bits: float
    predicted: Predicted
    solver: SolverReport
    budget_bytes: int
    min_feasible_budget_bytes: int | None
    fingerprint: str
    objective: str = "accuracy"
    frontier: tuple[FrontierPoint, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    adapter_reason: str = ""
    held_by_storage: Mapping[str, int] = field(default_factory=dict)
    tables: tuple[FittedTable, ...] = ()
    measured_peak_bytes: int | None = None
    measured_gradient_error: float | None = None
    feasible: bool = True
    weight_format: WeightFormat = "float"
    wide_weights: tuple[str, ...] = ()
    optimizer: Optimizer = "adamw"
    task: str = "classification"
    task_reason: str = ""
    version: int = field(default=VERSION)

    def __repr__(self) -> str:
        """One line; `to_json` has everything."""
        p, widths = self.predicted, Counter(map(str, self.sites.values()))
        storages = ", ".join(f"{count} {storage}" for storage, count in widths.most_common())
        return (
            f"Plan({self.model} with {self.adapter} within {format_bytes(self.budget_bytes)}: peak "
            f"{format_bytes(p.peak_bytes)}, gradient error {p.gradient_error:.2g}, {self.micro_batch} x "
            f"{self.accumulation} images in {self.precision} on {self.device}; sites: {storages})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return plan_html(self.to_json())

    def plot(self) -> Figure:
        """A figure of matplotlib: the parts of the peak, and what other budgets would buy."""
        return draw_plan(self.to_json())

    @property
    def policy(self) -> StoragePolicy:
        """What `compress` applies."""
        return StoragePolicy(
            sites=self.sites,
            default=Storage.EXACT,
            chunk_samples=self.chunk_samples,
            frozen_weights=self.frozen_weights,
            weight_format=self.weight_format,
            wide_weights=self.wide_weights,
            tables=self.tables,
        )

    @classmethod
    def uniform(cls, profile: Profile, bits: int, batch_size: int = 8, recompute: bool = False) -> Plan:
        """Every site at one width, exact ones as they are; with recompute, every region instead of the sites inside."""
        sites, peak = uniform_choice(profile, bits, batch_size, recompute)
        size = sum(peak.breakdown(sites).values())
        solver = SolverReport("uniform", 0.0, 0.0)
        return cls.of(
            profile, peak, sites, batch_size, solver=solver, budget_bytes=size, min_feasible_budget_bytes=size
        )

    @classmethod
    def of(cls, profile: Profile, peak: Peak, sites: Mapping[str, Storage], batch_size: int, **others: Any) -> Plan:
        """The plan that storages of sites make of a profile, with all that follows from both.

        peak: of its micro-batch and chunk; others: the remaining fields by name.
        """
        cut, parts = Cut(peak.samples, peak.chunk), peak.breakdown(sites)
        return cls(
            model=profile.model,
            adapter=profile.adapter,
            image_size=profile.image_size,
            precision=profile.precision,
            device=profile.device,
            batch_size=batch_size,
            micro_batch=peak.samples,
            accumulation=ceil(batch_size / peak.samples),
            chunk_samples=peak.chunk,
            frozen_weights=peak.frozen_weights,
            sites=sites,
            mean_bits=mean_bits(profile, sites),
            predicted=Predicted(
                sum(parts.values()),
                parts,
                gradient_error(profile, sites),
                relative_step_time(profile, sites, cut, batch_size),
                launches(profile, sites, cut, batch_size),
                is_host_bound(profile, sites, cut),
                peak.needed(peak.moving(sites)),
                weight_error(profile, {w.name for w in profile.weights}.difference(peak.wide_weights)),
            ),
            fingerprint=profile.fingerprint,
            weight_format=profile.weight_format,
            wide_weights=peak.wide_weights,
            task=profile.task,
            task_reason=profile.task_reason,
            tables=profile.tables_for(sites),
            **others,
        )

    def to_json(self) -> dict[str, Any]:
        """The document of the command line's contract."""
        document = dataclasses.asdict(self)
        document["sites"] = [{"name": name, "storage": str(storage)} for name, storage in self.sites.items()]
        plain: dict[str, Any] = json.loads(json.dumps(document))
        return plain

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        """The plan `to_json` wrote. Raises InvalidInput for a document of another version or without its fields."""
        version = document.get("version") if isinstance(document, Mapping) else None
        if version != VERSION:
            raise InvalidInput(f"this plan has version {version!r}; this s2a reads version {VERSION}: plan again")
        fields = dict(document)
        try:
            fields["sites"] = {site["name"]: Storage(site["storage"]) for site in fields["sites"]}
            fields["predicted"] = Predicted(**fields["predicted"])
            fields["solver"] = SolverReport(**fields["solver"])
            fields["frontier"] = tuple(FrontierPoint(**p) for p in fields["frontier"])
            fields["baselines"] = tuple(Baseline(**b) for b in fields["baselines"])
            fields["tables"] = tuple(FittedTable.from_json(t) for t in fields.get("tables", ()))
            fields["wide_weights"] = tuple(map(str, fields.get("wide_weights", ())))
            fields["alternatives"] = tuple(Alternative(**a) for a in fields.get("alternatives", ()))
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"this is not a plan of s2a: {error}") from error
