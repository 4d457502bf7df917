"""What a profile holds: sites with bytes, error and time of each storage, and the memory around them. No torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s2a_core.pictures import draw_profile, profile_html
from s2a_core.profiling.live import LiveTensor
from s2a_core.sides import ImageSize
from s2a_core.sizes import format_bytes
from s2a_core.storage import FittedTable, Optimizer, Storage, WeightFormat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERSION = 22
ADAMW_BYTES = 8  # per trained number: two fp32 moments


@dataclass(frozen=True)
class Option:
    """One storage of one site. gradient_error: relative L2 error it alone causes in the trainable gradient.

    fixed_bytes: held however many samples there are. On CUDA also what a micro-batch of any number of samples adds to
    an exact step: fixed_ms of the host, launches of kernels. Of regions and blocks, extra_ms_per_sample is in chunks
    of one sample each, launches in one chunk.
    """

    storage: Storage
    bytes_per_sample: int
    gradient_error: float
    extra_ms_per_sample: float
    fixed_bytes: int = 0
    fixed_ms: float = 0.0
    launches: float = 0.0


@dataclass(frozen=True)
class Segment:
    """Most bytes alive during one site's turn, beyond what listed sites hold up to and including it.

    A forward turn of an exact site: without LiveTensors that no site holds, which a plan adds.

    With gradients from earlier micro-batches, which are not counted: fixed_bytes + samples * bytes_per_sample.
    In the first micro-batch, gradients so far counted: fresh_fixed_bytes + samples * fresh_bytes_per_sample.
    One sample alone takes other paths (a single chunk, other convolutions) and has its own measurement, if any.
    chunk_bytes: more for every further sample of a chunk, in regions and blocks. is_backward: the turn's pass.
    sum_rows, sum_columns: of the measured gradient whose rows CUDA sums then; in regions and blocks of a chunk of one.
    """

    fixed_bytes: int
    bytes_per_sample: int
    fresh_fixed_bytes: int
    fresh_bytes_per_sample: int
    one_bytes: int | None = None
    fresh_one_bytes: int | None = None
    chunk_bytes: int = 0
    is_backward: bool = False
    sum_rows: int = 0
    sum_columns: int = 0

    def at(self, samples: int, is_fresh: bool, chunk: int = 1) -> int:
        """Bytes at `samples` samples in chunks of `chunk`."""
        alone = self.fresh_one_bytes if is_fresh else self.one_bytes
        if samples == 1 and alone is not None:
            return alone
        more = (min(chunk, samples) - 1) * self.chunk_bytes
        if is_fresh:
            return self.fresh_fixed_bytes + samples * self.fresh_bytes_per_sample + more
        return self.fixed_bytes + samples * self.bytes_per_sample + more


@dataclass(frozen=True)
class OptimizerCost:
    """Bytes that an optimizer keeps over steps, and the temporaries of its own step."""

    state_bytes: int
    step_bytes: int


Work = dict[str, tuple[Segment, ...]]


@dataclass(frozen=True)
class SiteProfile:
    """One site. region, block: the sites that, when used, make this one cost nothing.

    work: way of running ("exact", "codes", "region", "block") -> its turns forward and backward.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    options: tuple[Option, ...]
    region: str | None
    block: str | None
    work: Work = field(default_factory=dict)


@dataclass(frozen=True)
class WeightProfile:
    """A coded weight. wide_bytes: more as a number of the profile's precision; gradient_error: as an Option's, of its
    codes.
    """

    name: str
    wide_bytes: int
    gradient_error: float


@dataclass(frozen=True)
class SharedStorage:
    """A tensor that several sites keep when exact; it is held once, from the first of them on, while any keeps it."""

    sites: tuple[str, ...]
    bytes_per_sample: int
    fixed_bytes: int


@dataclass(frozen=True)
class WorkingSet:
    """Bytes alive at the worst moment: constant_bytes + samples * bytes_per_sample.

    far: the line from `far_from` samples on, where larger batches take other paths (convolutions do). one: of one
    sample alone, which takes other paths too. chunk_bytes: more for every further sample of a chunk, in regions and
    blocks.
    """

    constant_bytes: int
    bytes_per_sample: int
    far_from: int | None = None
    far_constant_bytes: int = 0
    far_bytes_per_sample: int = 0
    chunk_bytes: int = 0
    one_bytes: int | None = None

    def at(self, samples: int, chunk: int = 1) -> int:
        """Bytes at `samples` samples in chunks of `chunk`."""
        if samples == 1 and self.one_bytes is not None:
            return self.one_bytes
        more = (min(chunk, samples) - 1) * self.chunk_bytes
        if self.far_from is not None and samples >= self.far_from:
            return self.far_constant_bytes + samples * self.far_bytes_per_sample + more
        return self.constant_bytes + samples * self.bytes_per_sample + more


@dataclass(frozen=True)
class BaselineCost:
    """Peak of a way of training that s2a is compared with: fixed_bytes + samples * bytes_per_sample.

    floor_bytes: weights, gradients and optimizer state, which the optimizer's step needs at any batch. others: (fixed,
    per sample) of other moments of a step, which are the worst ones at other batches.
    """

    name: str
    fixed_bytes: int
    bytes_per_sample: int
    floor_bytes: int = 0
    others: tuple[tuple[int, int], ...] = ()

    def at(self, samples: int) -> int:
        """Bytes at `samples` samples."""
        lines = ((self.fixed_bytes, self.bytes_per_sample), *self.others)
        return max(self.floor_bytes, *(fixed + samples * slope for fixed, slope in lines))


@dataclass(frozen=True)
class Profile:
    """A model with an adapter at one image size, precision and device. Bytes; per sample where it says so.

    params_bytes: of all parameters, codes as they are and numbers in fp32; frozen_bytes: of the frozen ones in fp32
    that bf16 halves; weight_format: how large frozen weights are coded, weights: each of these; coded_optimizer: what
    adamw8bit takes in place of adamw; state_bytes: what training changes: trainable parameters, and statistics that it
    estimates; start: the work before the first site, evaluation: a forward pass without gradients, both by way of
    running;
    step_ms_per_sample: the exact step of chunk_samples samples; step_overhead_ms: what of it any number of them takes,
    on CUDA the host's time; launches: kernels of an exact step, 0 on CPU; optimizer_bytes: temporaries of the
    optimizer's step; min_micro_batch: the fewest samples the model trains on; chunk_samples: the larger chunk that
    regions and blocks were measured in, beside one sample at a time; chunk_ms, chunk_launches: way of running
    ("region", "block") -> what every further chunk takes, all of them used; task: what its targets are of, and
    task_reason: how that was known; live: what the model itself keeps for a while of what exact sites keep; tables: of
    activation sites, fitted on images of the data. device_parts: of a CUDA device, what is held beside tensors:
    `context`, `workspaces` of libraries, and the most `code` that kernels of a run take; code_bytes: what the profile's
    took; workspaces: what a process takes by its budget, (from so many bytes on, bytes); resident_threads: of such a
    device; profiling_bytes: tensors alive there while as few samples as can be are profiled. 0 elsewhere.
    """

    model: str
    adapter: str
    image_size: ImageSize
    precision: str
    device: str
    params_bytes: int
    frozen_bytes: int
    trainable_params: int
    state_bytes: int
    buffers_bytes: int
    input_bytes_per_sample: int
    optimizer_bytes: int
    start: Work
    evaluation: dict[str, WorkingSet]
    step_ms_per_sample: float
    sites: tuple[SiteProfile, ...]
    shared: tuple[SharedStorage, ...]
    baselines: tuple[BaselineCost, ...]
    calibrated_on: str
    fingerprint: str
    min_micro_batch: int = 1
    chunk_samples: int = 1
    chunk_ms: dict[str, float] = field(default_factory=dict)
    chunk_launches: dict[str, float] = field(default_factory=dict)
    step_overhead_ms: float = 0.0
    launches: int = 0
    tables: tuple[FittedTable, ...] = ()
    device_parts: dict[str, int] = field(default_factory=dict)
    weight_format: WeightFormat = "float"
    code_bytes: int = 0
    workspaces: tuple[tuple[int, int], ...] = ()
    profiling_bytes: int = 0
    resident_threads: int = 0
    coded_optimizer: OptimizerCost = OptimizerCost(0, 0)
    task: str = "classification"
    task_reason: str = ""
    live: tuple[LiveTensor, ...] = ()
    weights: tuple[WeightProfile, ...] = ()
    version: int = VERSION

    def __repr__(self) -> str:
        """One line; `to_json` has everything."""
        weights, held = format_bytes(self.params_bytes), format_bytes(self.activation_bytes_per_sample)
        return (
            f"Profile({self.model} with {self.adapter or 'no adapter'} at {self.image_size} px, {self.precision} on "
            f"{self.device}: {len(self.sites)} sites, weights {weights}, {held} a sample held exactly; "
            f"{self.fingerprint})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return profile_html(self.to_json())

    def plot(self) -> Figure:
        """A figure of matplotlib: bytes of each operator."""
        return draw_profile(self.to_json())

    @property
    def activation_bytes_per_sample(self) -> int:
        """Bytes a sample holds when everything is exact."""
        inside = sum(s.options[0].bytes_per_sample for s in self.sites if s.op not in ("region", "block"))
        return inside + sum(s.bytes_per_sample for s in self.shared)

    def optimizer_cost(self, name: Optimizer) -> OptimizerCost:
        """What an optimizer takes. AdamW keeps two fp32 moments."""
        adamw = OptimizerCost(ADAMW_BYTES * self.trainable_params, self.optimizer_bytes)
        return adamw if name == "adamw" else self.coded_optimizer

    def tables_for(self, sites: Mapping[str, Storage]) -> tuple[FittedTable, ...]:
        """The fitted tables of the widths that `sites` are stored at."""
        return tuple(t for t in self.tables if t.site in sites and sites[t.site].bits == t.bits)

    def to_json(self) -> dict[str, Any]:
        """The document of the command line's contract."""
        document = {**dataclasses.asdict(self), "activation_bytes_per_sample": self.activation_bytes_per_sample}
        plain: dict[str, Any] = json.loads(json.dumps(document))
        return plain

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Profile:
        """The profile `to_json` wrote. Raises StaleProfile for a document of another version."""
        from s2a_core.errors import StaleProfile

        version = document.get("version") if isinstance(document, Mapping) else None
        if version != VERSION:
            raise StaleProfile(f"this profile has version {version!r}; this s2a reads version {VERSION}: profile again")
        fields = {k: v for k, v in document.items() if k != "activation_bytes_per_sample"}
        fields["start"] = _work(fields["start"])
        fields["shared"] = tuple(SharedStorage(**{**s, "sites": tuple(s["sites"])}) for s in fields["shared"])
        fields["live"] = tuple(LiveTensor(**{**t, "sites": tuple(t["sites"])}) for t in fields["live"])
        fields["evaluation"] = {k: WorkingSet(**v) for k, v in fields["evaluation"].items()}
        baselines = ({**cost, "others": tuple(map(tuple, cost["others"]))} for cost in fields["baselines"])
        fields["baselines"] = tuple(BaselineCost(**cost) for cost in baselines)
        fields["sites"] = tuple(
            SiteProfile(
                **{
                    **site,
                    "shape": tuple(site["shape"]),
                    "options": tuple(Option(**{**o, "storage": Storage(o["storage"])}) for o in site["options"]),
                    "work": _work(site["work"]),
                }
            )
            for site in fields["sites"]
        )
        fields["workspaces"] = tuple((first, size) for first, size in fields["workspaces"])
        fields["coded_optimizer"] = OptimizerCost(**fields["coded_optimizer"])
        fields["weights"] = tuple(WeightProfile(**weight) for weight in fields["weights"])
        fields["tables"] = tuple(FittedTable.from_json(table) for table in fields.get("tables", ()))
        return cls(**fields)


def _work(document: dict[str, Any]) -> Work:
    return {mode: tuple(Segment(**segment) for segment in segments) for mode, segments in document.items()}
