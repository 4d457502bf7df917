"""One training of the accuracy table: its model with real weights, its photos, its plan, its row."""

from __future__ import annotations

import dataclasses
import functools
import io
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from s2a_core.adapters import AdapterSpec, add_adapters  # noqa: E402
from s2a_core.datasets import ImageDataset, Sample, open_dataset  # noqa: E402
from s2a_core.datasets.images import read_image  # noqa: E402
from s2a_core.models import data_config, load_model  # noqa: E402
from s2a_core.planner import Planner  # noqa: E402
from s2a_core.planning.types import Plan, Predicted, SolverReport  # noqa: E402
from s2a_core.prepare import Prepared  # noqa: E402
from s2a_core.profiling import Profile, profile  # noqa: E402
from s2a_core.profiling.runs import run_step  # noqa: E402
from s2a_core.requests import RunRequest  # noqa: E402
from s2a_core.storage import WEIGHT_FORMATS  # noqa: E402
from s2a_core.train import TrainConfig, train  # noqa: E402
from s2a_core.train.images import evaluation_transform  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
BATCH = 25
BITS = 4  # of a uniform plan, where the storage is `compressed`
PLANNED = "planned"  # the storage of runs that the planner fits into BUDGET_MIB, adapter and all
BF16 = "bf16"
WEIGHTS = {
    "deit_tiny": ("deit_tiny_patch16_224", "deit_tiny_patch16_224.fb_in1k.fp32.safetensors"),
    "mobilenetv2": ("mobilenetv2_100", "mobilenetv2_100.tfmodelgarden_in1k_int8dequant.fp32.safetensors"),
}
DATA = {"cifar10": "cifar10_jpg_5000_1000.tar", "trashnet6": "trashnet6_256px.tar"}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is the same in every run of a model on a dataset.

    num_train: training images, the same for every seed. stored_side: pixels of the shorter side of the photos as they
    are kept in memory.
    """

    image_size: int
    epochs: int
    num_train: int
    stored_side: int = 108


# (model, dataset). MobileNetV2: as many epochs as `s2a train` makes of 500 images; fewer of the larger model. CIFAR-10
# has 32 pixels a side, trashnet6 has 256.
PROTOCOLS = {
    ("deit_tiny", "cifar10"): Protocol(96, 4, 500), ("deit_tiny", "trashnet6"): Protocol(160, 4, 500, 184),
    ("mobilenetv2", "cifar10"): Protocol(64, 8, 500), ("mobilenetv2", "trashnet6"): Protocol(64, 8, 500),
}  # fmt: skip
# A third of what full fine-tuning takes, exact, in the table.
BUDGET_MIB = {
    ("deit_tiny", "cifar10"): 66, ("deit_tiny", "trashnet6"): 145,
    ("mobilenetv2", "cifar10"): 61, ("mobilenetv2", "trashnet6"): 61,
}  # fmt: skip
SWEEP_JUDGES = 500  # training photos that no run trains on: rates are not chosen by the validation part


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training."""

    dataset: str
    model: str
    adapter: str
    storage: str  # exact, compressed or PLANNED; of WEIGHT_FORMATS: exact, beside frozen weights in that format
    seed: int
    lr: float | None = None

    @property
    def key(self) -> str:
        rate = f" lr={self.lr:g}" if self.lr else ""
        return f"{self.dataset} {self.model} {self.adapter} {self.storage} {self.seed}{rate}"


def make_model(cell: Cell, protocol: Protocol, num_classes: int, adapter: str | None = None) -> torch.nn.Module:
    """Pretrained weights, the adapter on top: the cell's, unless the planner takes another."""
    name, file = WEIGHTS[cell.model]
    options = {"pad_type": "same"} if cell.model == "mobilenetv2" else {}
    torch.manual_seed(cell.seed)
    model = load_model(name, SHARED / file, num_classes, protocol.image_size, **options)
    if cell.model == "mobilenetv2":  # these weights were trained on pixels in -1..1
        model.pretrained_cfg = {**model.pretrained_cfg, "mean": (0.5,) * 3, "std": (0.5,) * 3}  # type: ignore[dict-item]
    return add_adapters(model, AdapterSpec.parse(adapter or cell.adapter), protocol.image_size)


@dataclasses.dataclass(frozen=True)
class Way:
    """How a cell is trained, the same for every seed. held and peak: bytes per image of one micro-batch."""

    adapter: str
    plan: Plan
    held: int
    peak: int


WAYS: dict[tuple[str, str, str, str], Way] = {}


def way_of(cell: Cell, protocol: Protocol, data: ImageDataset) -> Way:
    """The cell's plan, made once, and the adapter it is for: the planner may take another than the cell's."""
    mark = (cell.dataset, cell.model, cell.adapter, cell.storage)
    if mark in WAYS:
        return WAYS[mark]
    adapter = cell.adapter
    model = make_model(cell, protocol, len(data.classes))
    split = data.train.with_transform(evaluation_transform(data_config(model, protocol.image_size)))
    pairs = [split[i] for i in range(0, len(split), max(1, len(split) // 8))][:8]
    x, y = torch.stack([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs])
    if cell.storage == "exact":
        plan = exact_plan(cell, str(model.s2a_adapter), protocol)
    elif cell.storage in WEIGHT_FORMATS:
        plan = exact_plan(cell, str(model.s2a_adapter), protocol)
        plan = dataclasses.replace(plan, weight_format=WEIGHT_FORMATS[WEIGHT_FORMATS.index(cell.storage)])
    elif cell.storage == BF16:
        plan = dataclasses.replace(exact_plan(cell, str(model.s2a_adapter), protocol), frozen_weights="bf16")
    elif cell.storage == PLANNED:
        plan, adapter = planned(cell, protocol, data)
        model = make_model(cell, protocol, len(data.classes), adapter)
    else:
        measured = profile_of(model, cell, protocol, x, y, 2, refine_s=0.0)
        plan = dataclasses.replace(
            Plan.uniform(measured, BITS, BATCH, recompute=True), chunk_samples=BATCH, budget_bytes=2**34
        )
    step = run_step(model, x, y, plan.policy, "fp32", is_metered=True)
    WAYS[mark] = Way(adapter, plan, step.held_bytes // len(x), step.peak_bytes // len(x))
    return WAYS[mark]


def planned(cell: Cell, protocol: Protocol, data: ImageDataset) -> tuple[Plan, str]:
    """What s2a itself makes of the budget, after its real steps, and the adapter it takes."""

    def prepare(request: RunRequest, dataset: ImageDataset | None) -> Prepared:
        model = make_model(cell, protocol, len(data.classes), request.adapter)
        spec, name = cast(AdapterSpec, model.s2a_adapter), WEIGHTS[cell.model][0]
        return Prepared(model, name, True, spec, data, protocol.image_size, "fp32", "cpu")

    budget = BUDGET_MIB[cell.model, cell.dataset] * 2**20
    request = RunRequest(
        WEIGHTS[cell.model][0], cell.dataset, budget, adapter=cell.adapter, batch_size=BATCH, precision="fp32"
    )
    planner = Planner(request, prepare=prepare)
    plan = planner.verify(planner.plan()).plan
    return plan, planner.candidate_of(plan).adapter


def profile_of(
    model: torch.nn.Module, cell: Cell, protocol: Protocol, x: torch.Tensor, y: torch.Tensor, samples: int,
    **options: Any,
) -> Profile:  # fmt: skip
    """The profile of a cell's model as it is adapted, on its photos."""
    return profile(
        model, protocol.image_size, samples, "fp32", (x, y), name=WEIGHTS[cell.model][0],
        adapter=str(model.s2a_adapter), has_baselines=False, **options,
    )  # fmt: skip


def exact_plan(cell: Cell, adapter: str, protocol: Protocol) -> Plan:
    """Everything as torch keeps it, the whole batch at once."""
    return Plan(
        model=WEIGHTS[cell.model][0], adapter=adapter, image_size=protocol.image_size, precision="fp32", device="cpu",
        batch_size=BATCH, micro_batch=BATCH, accumulation=1, chunk_samples=0, frozen_weights="keep", sites={},
        mean_bits=32.0, predicted=Predicted(0, {}, 0.0, 1.0), solver=SolverReport("exact", 0.0, 0.0),
        budget_bytes=2**34, min_feasible_budget_bytes=0, fingerprint=cell.key,
    )  # fmt: skip


@functools.cache
def photos(dataset: str, protocol: Protocol, is_sweep: bool) -> ImageDataset:
    """The training photos of every run, and what judges them: the validation part, in a sweep other training photos.

    They are decoded once, to bitmaps.
    """
    data = open_dataset(SHARED / DATA[dataset])
    samples = list(data.train.samples)
    random.Random(0).shuffle(samples)
    chosen, others = samples[: protocol.num_train], samples[protocol.num_train :]
    judges = others[:SWEEP_JUDGES] if is_sweep else data.val.samples
    as_bitmap = functools.partial(_as_bitmap, side=protocol.stored_side)
    return dataclasses.replace(
        data,
        train=dataclasses.replace(data.train, samples=tuple(map(as_bitmap, chosen))),
        val=dataclasses.replace(data.val, samples=tuple(map(as_bitmap, judges))),
    )


def _as_bitmap(sample: Sample, side: int) -> Sample:
    image = read_image(sample.source)
    share = side / min(image.size)
    if share < 1:
        image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "BMP")
    return dataclasses.replace(sample, source=file.getvalue())


def run_cell(cell: Cell, protocol: Protocol) -> dict[str, Any]:
    """Train one cell; its row."""
    data = photos(cell.dataset, protocol, cell.lr is not None)
    began, cpu = time.perf_counter(), time.process_time()
    way = way_of(cell, protocol, data)
    model = make_model(cell, protocol, len(data.classes), way.adapter)
    config = TrainConfig(epochs=protocol.epochs, seed=cell.seed, lr=cell.lr, evaluate_every=protocol.epochs)
    with tempfile.TemporaryDirectory() as work:
        result = train(model, data, way.plan, config, Path(work), lambda event: None)
    trained, backbone = result.trainable_params - result.head_params, result.total_params - result.head_params
    added = sum(p.numel() for n, p in model.named_parameters() if "s2a_" in n or "lora_" in n)
    return {
        "key": cell.key, **dataclasses.asdict(cell), **dataclasses.asdict(protocol),
        "adapter_resolved": str(model.s2a_adapter), "accuracy": result.final_accuracy,
        "train_loss": result.history[-1]["train_loss"], "trained_share": trained / (backbone - added),
        "trainable_params": result.trainable_params,
        "held_bytes_per_image": way.held, "step_peak_bytes_per_image": way.peak,
        "budget_bytes": way.plan.budget_bytes if cell.storage == PLANNED else None,
        "measured_peak_bytes": result.measured_peak_bytes, "step_ms": round(result.step_ms, 1),
        "wall_s": round(time.perf_counter() - began, 1), "cpu_s": round(time.process_time() - cpu, 1),
    }  # fmt: skip
