"""`profile`: what each site of a model costs under each storage, measured in real steps of small batches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from s2a_core.compression import SiteSpec, discover
from s2a_core.errors import InvalidInput
from s2a_core.profiling.baselines import measure_baselines
from s2a_core.profiling.fingerprint import fingerprint
from s2a_core.profiling.runs import Step, evaluation_peak, gradient, relative_error, run_step, unchanged
from s2a_core.profiling.sensitivity import anchors, between, groups, linear_bytes, share
from s2a_core.profiling.types import Option, Profile, SiteProfile, WorkingSet
from s2a_core.storage import FrozenWeights, Storage, StoragePolicy

CHUNK_SAMPLES = 1
WHOLE = ("region", "block")


@dataclass
class _Measured:
    """Per site: storage -> bytes per sample, error, extra milliseconds per sample."""

    bytes: dict[Storage, float] = field(default_factory=dict)
    error: dict[Storage, float] = field(default_factory=dict)
    extra_ms: dict[Storage, float] = field(default_factory=dict)


def profile(
    model: nn.Module,
    image_size: int = 224,
    batch_size: int = 4,
    precision: str = "fp32",
    calibration: tuple[Tensor, Tensor] | None = None,
    *,
    name: str = "",
    adapter: str = "",
    has_baselines: bool = True,
    refine_s: float = 10.0,
) -> Profile:
    """The profile of a model with its trainable parameters set. The model stays as it was but for frozen bf16 weights.

    batch_size: samples of the larger of the two measured batches, at least 2. calibration: images [N, 3, H, W], N >=
    batch_size, and labels [N]; noise without. refine_s: seconds spent on telling apart sites of one shape.
    Raises InvalidInput for a precision or batch it cannot use, and for an image size the model refuses.
    """
    if precision not in ("fp32", "bf16"):
        raise InvalidInput(f"the precision is fp32 or bf16, not {precision!r}")
    if batch_size < 2:
        raise InvalidInput(f"a profile needs batches of at least 2 samples, not {batch_size}")
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise InvalidInput("this model has no trainable parameters: add adapters before profiling")
    device = trained[0].device
    x, y = _batch(model, image_size, batch_size, calibration, device)
    mark = fingerprint(model, name, adapter, image_size, precision, str(device))
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad and p.is_floating_point())
    num_trained = sum(p.numel() for p in trained)
    with unchanged(model):
        baselines = measure_baselines(model, x, y, precision) if has_baselines else ()
        model.train()
        _rest_frozen_batch_norm(model)
        specs = _sites(model, x, precision, image_size)
        measuring = _Measuring(model, x, y, precision, specs, "bf16" if precision == "bf16" else "keep")
        working, exact = measuring.ways()
        measured = measuring.sites(refine_s)
        peaks = [evaluation_peak(model, x[:n], precision) for n in measuring.batches]
        listed = {spec.name for spec in specs}
        unlisted = sum(slope for site, slope in exact.items() if site not in listed)
    return Profile(
        model=name,
        adapter=adapter,
        image_size=image_size,
        precision=precision,
        device=str(device),
        params_bytes=4 * (frozen + num_trained),
        frozen_bytes=4 * frozen,
        trainable_params=num_trained,
        buffers_bytes=sum(b.untyped_storage().nbytes() for b in model.buffers()),
        input_bytes_per_sample=x[0].numel() * 4,
        unlisted_bytes_per_sample=round(unlisted),
        working=working,
        evaluation=_line(measuring.batches, peaks),
        step_ms_per_sample=measuring.exact_s * 1e3 / len(x),
        sites=tuple(_site_profile(spec, measured[spec.name]) for spec in specs),
        baselines=baselines,
        calibrated_on="images of the data set" if calibration is not None else "noise",
        fingerprint=mark,
    )


class _Measuring:
    """The steps of one profile, all on one batch."""

    def __init__(
        self, model: nn.Module, x: Tensor, y: Tensor, precision: str, specs: Sequence[SiteSpec], frozen: FrozenWeights
    ) -> None:
        self.model, self.x, self.y, self.precision, self.specs, self.frozen = model, x, y, precision, specs, frozen
        self.batches = (max(len(x) // 2, 1), len(x))
        self.unused = {s.name: Storage.NONE for s in specs if s.op in WHOLE}
        self.exact_s = 0.0
        self.exact_gradient = torch.empty(0)
        self.exact_slopes: dict[str, float] = {}

    def step(self, sites: Mapping[str, Storage], samples: int | None = None, is_metered: bool = False) -> Step:
        """One step with these storages, everything else exact."""
        policy = StoragePolicy({**self.unused, **sites}, Storage.EXACT, CHUNK_SAMPLES, self.frozen)
        n = len(self.x) if samples is None else samples
        return run_step(self.model, self.x[:n], self.y[:n], policy, self.precision, is_metered)

    def ways(self) -> tuple[dict[str, WorkingSet], dict[str, float]]:
        """Working set of each way of running, and what every site holds per sample when all are exact."""
        self.step({})  # the first step allocates what later ones reuse
        working = {}
        for way, sites in self.policies().items():
            steps = [self.step(sites, n, is_metered=True) for n in self.batches]
            working[way] = _line(self.batches, [s.peak_bytes - s.held_bytes for s in steps])
            if way == "exact":
                self.exact_slopes = _slopes(self.batches, steps)
        self.exact_s = min(self.step({}).seconds for _ in range(2))
        self.exact_gradient = gradient(self.model)
        return working, self.exact_slopes

    def policies(self) -> dict[str, dict[str, Storage]]:
        """A uniform choice for each way of running that this model has."""
        codes = {s.name: _coded(s) for s in self.specs if s.op not in WHOLE}
        found: dict[str, dict[str, Storage]] = {"exact": {}, "codes": codes}
        for way in WHOLE:
            whole = {s.name: Storage.B4 for s in self.specs if s.op == way}
            if whole:
                found[way] = {**codes, **whole}
        return found

    def sites(self, refine_s: float) -> dict[str, _Measured]:
        """Bytes, error and time of the measured storages of every site."""
        measured = {spec.name: _Measured() for spec in self.specs}
        for spec in self.specs:
            first = spec.options[0]
            measured[spec.name].bytes[first] = self.exact_slopes.get(spec.name, 0.0) if first is Storage.EXACT else 0.0
            measured[spec.name].error[first] = measured[spec.name].extra_ms[first] = 0.0
        together = groups(self.specs)
        for group in together:
            for storage in anchors(group[0]):
                step = self.step({spec.name: storage for spec in group})
                error = share(relative_error(gradient(self.model), self.exact_gradient), group)
                extra = (step.seconds - self.exact_s) * 1e3 / len(group) / len(self.x)
                for spec in group:
                    of = measured[spec.name]
                    of.bytes[storage] = step.bytes.get(spec.name, 0) / len(self.x)
                    of.error[storage], of.extra_ms[storage] = error, max(extra, 0.0)
        self.refine([g for g in together if len(g) > 1], measured, refine_s)
        return measured

    def refine(self, together: list[list[SiteSpec]], measured: dict[str, _Measured], seconds: float) -> None:
        """Tells alike sites apart: each one's own error at its lowest measured width scales all its errors."""
        start = time.perf_counter()
        for group in sorted(together, key=lambda g: g[0].op not in WHOLE):
            coded = [s for s in anchors(group[0]) if s.bits]
            if not coded or (time.perf_counter() - start) + len(group) * self.exact_s * 1.5 > seconds:
                continue
            width = coded[0]
            for spec in group:
                self.step({spec.name: width})
                of = measured[spec.name]
                own = relative_error(gradient(self.model), self.exact_gradient)
                ratio = own / max(of.error[width], 1e-12)
                of.error = {s: e * ratio for s, e in of.error.items()}


def _coded(spec: SiteSpec) -> Storage:
    return next((s for s in (Storage.NONE, Storage.MASK, Storage.B4) if s in spec.options), Storage.EXACT)


def _slopes(batches: tuple[int, int], steps: Sequence[Step]) -> dict[str, float]:
    small, large = steps
    width = batches[1] - batches[0]
    return {site: max(size - small.bytes.get(site, 0), 0) / width for site, size in large.bytes.items()}


def _line(batches: tuple[int, int], sizes: Sequence[int]) -> WorkingSet:
    """constant + slope * samples through two measured batches; never a negative part."""
    slope = max((sizes[1] - sizes[0]) / (batches[1] - batches[0]), 0.0)
    return WorkingSet(max(round(sizes[1] - slope * batches[1]), 0), round(slope))


def _site_profile(spec: SiteSpec, of: _Measured) -> SiteProfile:
    options = tuple(
        Option(
            storage=storage,
            bytes_per_sample=round(linear_bytes(of.bytes, storage)),
            gradient_error=between(of.error, storage),
            extra_ms_per_sample=of.extra_ms.get(storage, max(of.extra_ms.values(), default=0.0)),
        )
        for storage in spec.options
    )
    return SiteProfile(spec.name, spec.op, tuple(spec.shape[1:]), _ordered(options), spec.region, spec.block)


def _ordered(options: tuple[Option, ...]) -> tuple[Option, ...]:
    """Fewer bits never promise a smaller error: where noise says so, the larger width's error stands."""
    found, floor = [], 0.0
    for option in options:
        if option.storage.bits:
            floor = max(floor, option.gradient_error)
            option = replace(option, gradient_error=floor)
        found.append(option)
    return tuple(found)


def _sites(model: nn.Module, x: Tensor, precision: str, image_size: int) -> tuple[SiteSpec, ...]:
    try:
        return discover(model, x[:2], precision)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InvalidInput(f"the model refuses images of {image_size} pixels: {error}") from error


def _batch(
    model: nn.Module, size: int, samples: int, calibration: tuple[Tensor, Tensor] | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    if calibration is not None:
        images, labels = calibration
        if len(images) < samples:
            repeats = -(-samples // max(len(images), 1))
            images, labels = images.repeat(repeats, 1, 1, 1), labels.repeat(repeats)
        return images[:samples].to(device), labels[:samples].to(device)
    generator = torch.Generator().manual_seed(0)
    classes = max(int(getattr(model, "num_classes", 2) or 2), 1)
    x = torch.randn(samples, 3, size, size, generator=generator)
    return x.to(device), torch.randint(0, classes, (samples,), generator=generator).to(device)


def _rest_frozen_batch_norm(model: nn.Module) -> None:
    """Frozen BatchNorm runs on its statistics, as in training."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not (module.affine and module.weight.requires_grad):
            module.eval()
