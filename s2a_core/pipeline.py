"""The method, as one line: load -> adapt -> profile -> plan -> verify -> train -> report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.datasets import ImageDataset, open_dataset
from s2a_core.errors import InvalidInput, StaleProfile
from s2a_core.kernels import start_native
from s2a_core.models import data_config, is_random, load_model
from s2a_core.outputs import write_outputs
from s2a_core.phases import Clock
from s2a_core.planning import Plan
from s2a_core.planning.choice import Candidate, candidates, plan_over
from s2a_core.planning.margin import margin_share
from s2a_core.planning.memory import GRADIENT_BYTES
from s2a_core.planning.search import Objective
from s2a_core.profiling import Profile, profile
from s2a_core.profiling.cache import recall, remember
from s2a_core.profiling.fingerprint import fingerprint
from s2a_core.recovery import train_within
from s2a_core.requests import BATCH_SIZE, as_planned, as_resumed, pairs_of, request_mark_of
from s2a_core.requests import RunRequest as RunRequest
from s2a_core.resume import keep_plan, kept_plan
from s2a_core.train import TrainConfig
from s2a_core.train.checkpoint import drop_checkpoint
from s2a_core.train.images import evaluation_transform
from s2a_core.train.recipe import enough_epochs
from s2a_core.train.types import OnEvent
from s2a_core.verify import VerifiedPlan, recorded, verify

Report = dict[str, Any]
CALIBRATION_IMAGES = 8
PROFILE_SAMPLES = 4
# Above this many parameters a profile measures fewer samples, which shows the same bytes in less time. Two are enough
# where nothing but a stem convolves: a convolution of one sample works unlike those of more, so lines start at two.
LARGE_MODEL = 30_000_000
STEM_CONVOLUTIONS = 4


@dataclass
class _Prepared:
    """A model with its adapter, and the data it is for."""

    model: nn.Module
    spec: AdapterSpec
    dataset: ImageDataset | None
    image_size: int
    precision: str
    device: str


def run(request: RunRequest, on_event: OnEvent = lambda event: None) -> Report:
    """Train inside the budget and write the output directory; returns report.json's content.

    Raises what s2a_core/errors.py lists, before training for bad input and budgets that cannot fit.
    """
    output = request.output
    if output is None:
        raise InvalidInput("a run needs an output directory")
    if request.data is None:
        raise InvalidInput("a run needs data: a directory of images, an archive, `digits` or a dataset's name")
    clock, asked = Clock(on_event), request
    if request.plan is not None:
        request = as_planned(request, request.plan)
    kept = kept_plan(output) if request.resume else None
    if kept is not None:
        request = as_resumed(request, kept)
    first = request if request.plan is not None else _asked(request, _candidates(request)[0])
    with clock.phase("validating"):
        prepared = _prepare(first)
    assert prepared.dataset is not None
    for warning in prepared.dataset.report.warnings:
        on_event({"type": "warning", "message": warning})
    output.mkdir(parents=True, exist_ok=True)
    with clock.phase("profiling"):
        measured = _profile(first, prepared) if request.plan is None else None
    with clock.phase("planning"):
        if request.plan is not None:
            chosen = request.plan
            _require_its_plan(request, prepared, "plan again" if chosen is not kept else "use another --output")
        else:
            chosen, request, prepared, measured = _choose(request, prepared, measured)
    assert prepared.dataset is not None
    if chosen is not kept:
        with clock.phase("verifying"):
            images, labels = _calibration(prepared, max(CALIBRATION_IMAGES, 1))
            chosen = verify(prepared.model, chosen, measured, images, labels, pairs_of(request)).plan

    def tell(event: dict[str, Any]) -> None:
        if event["type"] == "plan":
            keep_plan(output, event["plan"])
        on_event(event)

    tell({"type": "plan", "plan": chosen.to_json()})
    with clock.phase("training"):
        result, chosen = train_within(
            prepared.model,
            prepared.dataset,
            chosen,
            lambda: measured or _profile(request, prepared),
            _train_config(request, prepared.dataset, chosen, tell),
            output,
            tell,
        )
    with clock.phase("reporting"):
        starts_random = is_random(request.model, request.weights)
        report = write_outputs(
            output,
            request=replace(asked, budget_bytes=chosen.budget_bytes, plan=request.plan),
            result=result,
            plan=chosen,
            dataset=prepared.dataset,
            tensors=prepared.model.state_dict() if starts_random else None,
            phases=clock.phases,
            extra={"adapter": prepared.spec.to_json(), "weights": request.weights, "image_size": prepared.image_size},
        )
        drop_checkpoint(output)
    return report


def _require_its_plan(request: RunRequest, prepared: _Prepared, advice: str) -> None:
    """Raises StaleProfile where the request's plan is not of the model that is there."""
    made = request.plan
    if made is not None and made.fingerprint != _fingerprint(request, prepared):
        raise StaleProfile(
            f"the plan is of {made.model} with {made.adapter} at {made.image_size} px, {made.precision} "
            f"({made.fingerprint}), not of this model, adapter, weights, device and versions: {advice}",
            details={"fingerprint": made.fingerprint},
        )


def _train_config(request: RunRequest, dataset: ImageDataset, chosen: Plan, tell: OnEvent) -> TrainConfig:
    """How to train, with as many epochs as the size of the data asks for where the request leaves them open."""
    epochs = request.epochs or enough_epochs(len(dataset.train), chosen.batch_size)
    if request.epochs is None:
        tell({"type": "note", "message": f"{epochs} epochs of {len(dataset.train):,} training images"})
    return TrainConfig(
        epochs=epochs,
        seed=request.seed,
        lr=request.lr,
        patience=request.patience,
        ema_decay=request.ema_decay,
        augmentation=request.augmentation,
        resume=request.resume,
    )


def _candidates(request: RunRequest) -> list[Candidate]:
    if request.budget_bytes <= 0:
        raise InvalidInput("the budget must be a positive number of bytes; --budget says it, or the plan of --plan")
    return candidates(request.adapter, request.precision)


def _asked(request: RunRequest, candidate: Candidate) -> RunRequest:
    """The request for one of its candidates."""
    return replace(request, adapter=candidate.adapter, precision=candidate.precision)


def make_profile(request: RunRequest) -> Profile:
    """The profile of a request's model and adapter."""
    return _profile(request, _prepare(request))


def make_plan(request: RunRequest) -> Plan:
    """The plan of a request over the adapters and precisions it leaves open; not verified."""
    return _choose(request)[0]


def verified_plan(request: RunRequest, chosen: Plan) -> Plan:
    """A request's plan after real steps under its budget, planned tighter where it missed.

    Raises InfeasibleBudget where nothing that really ran fits.
    """
    request = as_planned(request, chosen)
    return check_plan(request, chosen, make_profile(request)).plan


def _choose(
    request: RunRequest, prepared: _Prepared | None = None, measured: Profile | None = None
) -> tuple[Plan, RunRequest, _Prepared, Profile]:
    """The best plan over adapters and precisions, with the request, model and profile it is of.

    prepared, measured: of the first candidate, where they are there already.
    """
    wanted = _candidates(request)
    profiles: dict[Candidate, Profile] = {} if measured is None else {wanted[0]: measured}
    newest = (wanted[0], prepared)

    def profile_of(candidate: Candidate) -> Profile:
        nonlocal newest
        if candidate not in profiles:
            if newest[0] != candidate or newest[1] is None:
                newest = (candidate, _prepare(_asked(request, candidate)))
            assert newest[1] is not None
            profiles[candidate] = _profile(_asked(request, candidate), newest[1])
        return profiles[candidate]

    chosen, source = plan_over(
        wanted, profile_of, request.budget_bytes, request.batch_size or BATCH_SIZE, cast(Objective, request.objective),
        lambda found: _margin(request, found),
    )  # fmt: skip
    model = newest[1] if newest[0] == source and newest[1] is not None else _prepare(_asked(request, source))
    return chosen, _asked(request, source), model, profiles[source]


def check_plan(request: RunRequest, chosen: Plan, measured: Profile) -> VerifiedPlan:
    """A plan after real steps of its model, planned again where it missed. Without data, on random images.

    Raises InfeasibleBudget when three rounds do not fit.
    """
    prepared = _prepare(request)
    if prepared.dataset is not None:
        images, labels = _calibration(prepared, CALIBRATION_IMAGES)
    else:
        size = prepared.image_size
        images = torch.randn(CALIBRATION_IMAGES, 3, size, size, device=prepared.device)
        labels = torch.arange(CALIBRATION_IMAGES, device=prepared.device) % (request.num_classes or 1000)
    return verify(prepared.model, chosen, measured, images, labels, pairs_of(request))


def _prepare(request: RunRequest) -> _Prepared:
    """Load the data and the model, add the adapter. Raises before anything is trained."""
    spec = AdapterSpec.parse(request.adapter)
    device = request.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InvalidInput("no CUDA device is available: use --device cpu", details={"device": device})
    start_native(torch.device(device).type)  # the compiler works while data and model are read
    dataset = open_dataset(request.data, seed=request.seed) if request.data else None
    num_classes = len(dataset.classes) if dataset else (request.num_classes or 1000)
    torch.manual_seed(request.seed)
    model = load_model(request.model, request.weights, num_classes, request.image_size)
    image_size = request.image_size or int(data_config(model)["image_size"])
    model = add_adapters(model, spec, image_size).to(device)
    precision = request.precision or ("bf16" if device.startswith("cuda") else "fp32")
    return _Prepared(model, cast(AdapterSpec, model.s2a_adapter), dataset, image_size, precision, device)


def _profile(request: RunRequest, prepared: _Prepared) -> Profile:
    cache = request.profile_cache
    mark = request_mark_of(request)
    has_weights = not is_random(request.model, request.weights)
    if cache is not None:
        known = recall(cache, mark)
        if known is not None and known.fingerprint == _fingerprint(request, prepared):
            return known
    calibration = _calibration(prepared, CALIBRATION_IMAGES) if prepared.dataset else None
    found = profile(
        prepared.model,
        prepared.image_size,
        _samples(prepared.model),
        prepared.precision,
        calibration,
        name=request.model,
        adapter=str(prepared.spec),
        has_weights=has_weights,
    )
    if cache is not None:
        remember(cache, mark, found)
    return found


def _samples(model: nn.Module) -> int:
    """Samples of the larger of a profile's two batches."""
    if sum(p.numel() for p in model.parameters()) <= LARGE_MODEL:
        return PROFILE_SAMPLES
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    return 2 if convolutions <= STEM_CONVOLUTIONS else 3


def _fingerprint(request: RunRequest, prepared: _Prepared) -> str:
    """What a plan or profile of this model, as it is, has to carry."""
    return fingerprint(
        prepared.model,
        request.model,
        str(prepared.spec),
        prepared.image_size,
        prepared.precision,
        str(next(prepared.model.parameters()).device),
        not is_random(request.model, request.weights),
    )


def _margin(request: RunRequest, measured: Profile) -> int:
    """Bytes to keep free: by the pairs of this device, and for copies of trained weights that outlive a step.

    Those are the average, and the best state, which lies on the CPU.
    """
    path = pairs_of(request)
    known = [] if path is None else [pair.error for pair in recorded(path) if pair.device == measured.device]
    copies = bool(request.ema_decay) + (measured.device == "cpu")
    return int(margin_share(known, 0.0) * request.budget_bytes) + GRADIENT_BYTES * copies * measured.trainable_params


def _calibration(prepared: _Prepared, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Training images as the network sees them, spread over the data: ([N, 3, H, W], [N])."""
    assert prepared.dataset is not None
    transform = evaluation_transform(data_config(prepared.model, prepared.image_size))
    split = prepared.dataset.train.with_transform(transform)
    chosen = [round(i * (len(split) - 1) / max(1, count - 1)) for i in range(count)]
    pairs = [split[i] for i in chosen]
    images = torch.stack([image for image, _ in pairs]).to(prepared.device)
    return images, torch.tensor([label for _, label in pairs], device=prepared.device)
