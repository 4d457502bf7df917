"""Accuracy of every adapter, exact and compressed, with real weights on real photos: the table of docs/accuracy.

    python scripts/accuracy.py [--only TEXT] [--minutes N]     what is missing, most telling rows first, then the table
    python scripts/accuracy.py --sweep [--only TEXT]           the learning-rate sweep behind s2a_core/train/recipe.py
    python scripts/accuracy.py --table                         the table alone

Needs the weights and photos of ../shared/data. Every finished run is a line of docs/accuracy/results.jsonl and is never
run again; kill it and start it again at will. `compressed` stores everything at 4 bits with recomputed regions.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import io
import itertools
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from s2a_core.adapters import AdapterSpec, add_adapters, resolve  # noqa: E402
from s2a_core.datasets import ImageDataset, Sample, open_dataset  # noqa: E402
from s2a_core.datasets.images import read_image  # noqa: E402
from s2a_core.kernels import enable_native  # noqa: E402
from s2a_core.models import data_config, load_model  # noqa: E402
from s2a_core.planning.types import Plan, Predicted, SolverReport  # noqa: E402
from s2a_core.profiling import profile  # noqa: E402
from s2a_core.profiling.runs import run_step  # noqa: E402
from s2a_core.train import TrainConfig, train  # noqa: E402
from s2a_core.train.images import evaluation_transform  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
OUT = ROOT / "docs" / "accuracy"
COMMAND = "make accuracy"
BATCH, BITS = 25, 4
SEEDS = (0, 1, 2)
WEIGHTS = {
    "deit_tiny": ("deit_tiny_patch16_224", "deit_tiny_patch16_224.fb_in1k.fp32.safetensors"),
    "mobilenetv2": ("mobilenetv2_100", "mobilenetv2_100.tfmodelgarden_in1k_int8dequant.fp32.safetensors"),
}
DATA = {"cifar10": "cifar10_jpg_5000_1000.tar", "trashnet6": "trashnet6_256px.tar"}
SUMMARY_FOLLOWS = "compressed is 4 bits.\n\n"
ADAPTERS = ("full", "head", "auto", "bias", "side", "lora", "prompt")
RATES = {
    "full": (1e-4, 3e-4, 2e-4, 1e-3), "head": (1e-3, 3e-3, 1e-2), "lora": (2e-3, 5e-4, 5e-3),
    "prompt": (3e-3, 1e-2, 3e-2),
}  # fmt: skip
DEFAULT_RATES = (3e-3, 1e-3, 8e-3)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is the same in every run of a model. num_train: training images, the same ones for every seed."""

    image_size: int
    epochs: int
    num_train: int


PROTOCOLS = {"deit_tiny": Protocol(96, 4, 500), "mobilenetv2": Protocol(64, 4, 500)}
SWEEP_JUDGES = 500  # training photos that no run trains on: rates are not chosen by the validation part
STORED_SIDE = 108  # pixels of the shorter side of the photos as they are kept in memory


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training."""

    dataset: str
    model: str
    adapter: str
    storage: str  # exact | compressed
    seed: int
    lr: float | None = None

    @property
    def key(self) -> str:
        rate = f" lr={self.lr:g}" if self.lr else ""
        return f"{self.dataset} {self.model} {self.adapter} {self.storage} {self.seed}{rate}"


def cells() -> Iterator[Cell]:
    """The table, most telling first: what the targets compare, then the other adapters, seed by seed."""
    first = [("full", "exact"), ("auto", "exact"), ("auto", "compressed"), ("head", "exact")]
    rest = [(a, s) for a in ADAPTERS for s in ("exact", "compressed") if (a, s) not in first]
    for dataset, ways in (("cifar10", first), ("trashnet6", first), ("cifar10", rest), ("trashnet6", rest)):
        for seed, model, (adapter, storage) in itertools.product(SEEDS, WEIGHTS, ways):
            yield Cell(dataset, model, adapter, storage, seed)


def sweep_cells() -> Iterator[Cell]:
    """Rates of every adapter on one seed of a part of the CIFAR-10 photos."""
    for adapter, model in itertools.product(ADAPTERS, WEIGHTS):
        for rate in RATES.get(adapter, DEFAULT_RATES):
            yield Cell("cifar10", model, adapter, "exact", 0, rate)


def make_model(cell: Cell, protocol: Protocol, num_classes: int) -> torch.nn.Module:
    """Pretrained weights, the adapter on top."""
    name, file = WEIGHTS[cell.model]
    options = {"pad_type": "same"} if cell.model == "mobilenetv2" else {}
    torch.manual_seed(cell.seed)
    model = load_model(name, SHARED / file, num_classes, protocol.image_size, **options)
    if cell.model == "mobilenetv2":  # these weights were trained on pixels in -1..1
        model.pretrained_cfg = {**model.pretrained_cfg, "mean": (0.5,) * 3, "std": (0.5,) * 3}  # type: ignore[dict-item]
    return add_adapters(model, resolve(model, AdapterSpec.parse(cell.adapter)), protocol.image_size)


PLANS: dict[tuple[str, str, str, str], tuple[Plan, int, int]] = {}


def make_plan(model: torch.nn.Module, cell: Cell, protocol: Protocol, data: ImageDataset) -> tuple[Plan, int, int]:
    """(plan, held bytes and peak bytes per image of one micro-batch); the same for every seed, so made once."""
    mark = (cell.dataset, cell.model, cell.adapter, cell.storage)
    if mark in PLANS:
        return PLANS[mark]
    split = data.train.with_transform(evaluation_transform(data_config(model, protocol.image_size)))
    pairs = [split[i] for i in range(0, len(split), max(1, len(split) // 8))][:8]
    x, y = torch.stack([p[0] for p in pairs]), torch.tensor([p[1] for p in pairs])
    spec = str(model.s2a_adapter)
    if cell.storage == "exact":
        plan = exact_plan(cell, spec, protocol)
    else:
        measured = profile(
            model, protocol.image_size, 2, "fp32", (x, y), name=WEIGHTS[cell.model][0], adapter=spec,
            has_baselines=False, refine_s=0.0,
        )  # fmt: skip
        plan = dataclasses.replace(
            Plan.uniform(measured, BITS, BATCH, recompute=True), chunk_samples=BATCH, budget_bytes=2**34
        )
    step = run_step(model, x, y, plan.policy, "fp32", is_metered=True)
    model.zero_grad(set_to_none=True)
    PLANS[mark] = plan, step.held_bytes // len(x), step.peak_bytes // len(x)
    return PLANS[mark]


def exact_plan(cell: Cell, adapter: str, protocol: Protocol) -> Plan:
    """Everything as torch keeps it, the whole batch at once."""
    return Plan(
        model=WEIGHTS[cell.model][0], adapter=adapter, image_size=protocol.image_size, precision="fp32", device="cpu",
        batch_size=BATCH, micro_batch=BATCH, accumulation=1, chunk_samples=0, frozen_weights="keep", sites={},
        mean_bits=32.0, predicted=Predicted(0, {}, 0.0, 1.0), solver=SolverReport("exact", 0.0, 0.0),
        budget_bytes=2**34, min_feasible_budget_bytes=0, fingerprint=cell.key,
    )  # fmt: skip


@functools.cache
def photos(dataset: str, num_train: int, is_sweep: bool) -> ImageDataset:
    """The training photos of every run, and what judges them: the validation part, in a sweep other training photos.

    They are decoded once: kept as bitmaps with at most 108 pixels along the shorter side.
    """
    data = open_dataset(SHARED / DATA[dataset])
    samples = list(data.train.samples)
    random.Random(0).shuffle(samples)
    judges = samples[num_train : num_train + SWEEP_JUDGES] if is_sweep else data.val.samples
    return dataclasses.replace(
        data,
        train=dataclasses.replace(data.train, samples=tuple(map(_as_bitmap, samples[:num_train]))),
        val=dataclasses.replace(data.val, samples=tuple(map(_as_bitmap, judges))),
    )


def _as_bitmap(sample: Sample) -> Sample:
    image = read_image(sample.source)
    share = STORED_SIDE / min(image.size)
    if share < 1:
        image = image.resize((round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "BMP")
    return dataclasses.replace(sample, source=file.getvalue())


def run_cell(cell: Cell, protocol: Protocol) -> dict[str, Any]:
    """Train one cell; its row."""
    data = photos(cell.dataset, protocol.num_train, cell.lr is not None)
    began, cpu = time.perf_counter(), time.process_time()
    model = make_model(cell, protocol, len(data.classes))
    plan, held, peak = make_plan(model, cell, protocol, data)
    config = TrainConfig(epochs=protocol.epochs, seed=cell.seed, lr=cell.lr, evaluate_every=protocol.epochs)
    with tempfile.TemporaryDirectory() as work:
        result = train(model, data, plan, config, Path(work), lambda event: None)
    trained, backbone = result.trainable_params - result.head_params, result.total_params - result.head_params
    added = sum(p.numel() for n, p in model.named_parameters() if "s2a_" in n or "lora_" in n)
    return {
        "key": cell.key, **dataclasses.asdict(cell), **dataclasses.asdict(protocol),
        "adapter_resolved": str(model.s2a_adapter), "accuracy": result.final_accuracy,
        "train_loss": result.history[-1]["train_loss"], "trained_share": trained / (backbone - added),
        "trainable_params": result.trainable_params,
        "held_bytes_per_image": held, "step_peak_bytes_per_image": peak,
        "measured_peak_bytes": result.measured_peak_bytes, "step_ms": round(result.step_ms, 1),
        "wall_s": round(time.perf_counter() - began, 1), "cpu_s": round(time.process_time() - cpu, 1),
    }  # fmt: skip


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Finished runs; an unfinished last line is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean and standard error; NaN for fewer than two values."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def table() -> str:
    """docs/accuracy/README.md."""
    rows = rows_of(OUT / "results.jsonl")
    groups: dict[tuple[str, str], dict[tuple[str, str], list[dict[str, Any]]]] = {}
    for row in rows:
        ways = groups.setdefault((row["dataset"], row["model"]), {})
        ways.setdefault((row["adapter"], row["storage"]), []).append(row)
    lines = [
        "# Accuracy",
        "",
        f"Made by `{COMMAND}` (scripts/accuracy.py) from results.jsonl; the learning rates come",
        "from sweep.jsonl (`python scripts/accuracy.py --sweep`). Real weights and photos of ../shared/data;",
        "final accuracy on the whole validation part, mean ± standard error over seeds; no epoch is chosen by it.",
        f"compressed: everything at {BITS} bits, regions recomputed. `auto` is what s2a chooses for the model.",
    ]
    for (dataset, model), ways in sorted(groups.items()):
        some = next(iter(ways.values()))[0]
        lines += [
            "",
            f"## {model} on {dataset}",
            "",
            f"{some['num_train']} training images at {some['image_size']} px, {some['epochs']} epochs, batch {BATCH}, "
            "fp32, CPU.",
            "",
            "| adapter | storage | seeds | accuracy % | of full % | of the way from head to full % | trained % "
            "| held KiB/image | step peak KiB/image | measured peak MiB | step ms |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        full = _accuracy(ways, "full", "exact")
        head = _accuracy(ways, "head", "exact")
        for adapter, storage in sorted(ways, key=lambda way: (ADAPTERS.index(way[0]), way[1] == "compressed")):
            found = ways[adapter, storage]
            mean, error = mean_and_error([100 * row["accuracy"] for row in found])
            name = adapter if adapter != "auto" else f"**auto** ({found[0]['adapter_resolved']})"
            lines.append(
                f"| {name} | {storage} | {len(found)} | {mean:.2f}{'' if math.isnan(error) else f' ± {error:.2f}'} "
                f"| {_share(mean, full)} | {_way(mean, head, full)} "
                f"| {100 * found[0]['trained_share']:.2f} | {found[0]['held_bytes_per_image'] / 1024:.0f} "
                f"| {found[0]['step_peak_bytes_per_image'] / 1024:.0f} "
                f"| {max(r['measured_peak_bytes'] for r in found) / 2**20:.0f} "
                f"| {sorted(r['step_ms'] for r in found)[len(found) // 2]:.0f} |"
            )
    return "\n".join(lines) + "\n"


def summary() -> str:
    """The lines of s2a_core/adapters/spec.py: means on the CIFAR-10 subset."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows_of(OUT / "results.jsonl"):
        if row["dataset"] == "cifar10":
            ways = values.setdefault((row["adapter"], row["storage"]), {})
            ways.setdefault(row["model"], []).append(100 * row["accuracy"])
    lines = []
    for adapter, storage in sorted(values, key=lambda way: (ADAPTERS.index(way[0]), way[1] == "compressed")):
        found = [
            f"{model} {mean_and_error(some)[0]:.1f} ({len(some)})"
            for model, some in sorted(values[adapter, storage].items())
        ]
        lines.append(f"    {adapter} {storage}: " + ", ".join(found))
    return "\n".join(lines) + "\n"


def _accuracy(ways: dict[tuple[str, str], list[dict[str, Any]]], adapter: str, storage: str) -> float | None:
    found = ways.get((adapter, storage))
    return mean_and_error([100 * row["accuracy"] for row in found])[0] if found else None


def _share(part: float, whole: float | None) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""


def _way(mean: float, head: float | None, full: float | None) -> str:
    """How much of the distance from the head's accuracy to full fine-tuning's is closed."""
    return _share(mean - head, full - head) if head and full else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="runs whose name holds these words, such as 'mobilenetv2 auto'")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no run after so many minutes")
    parser.add_argument("--sweep", action="store_true", help="the learning-rate sweep")
    parser.add_argument("--table", action="store_true", help="write the table and stop")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if not options.table:
        if not SHARED.is_dir():
            sys.exit("needs the weights and photos of ../shared/data beside this checkout")
        enable_native()
        path = OUT / ("sweep.jsonl" if options.sweep else "results.jsonl")
        began = time.monotonic()
        for cell in sweep_cells() if options.sweep else cells():
            done = {row["key"] for row in rows_of(path)}
            if cell.key in done or not all(word in cell.key.split() for word in options.only.split()):
                continue
            if time.monotonic() - began > 60 * options.minutes:
                break
            row = run_cell(cell, PROTOCOLS[cell.model])
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            sys.stderr.write(f"{cell.key}: {100 * row['accuracy']:.1f} % in {row['cpu_s']:.0f} s\n")
    (OUT / "README.md").write_text(table())
    spec = ROOT / "s2a_core" / "adapters" / "spec.py"
    head, _, tail = spec.read_text().partition(SUMMARY_FOLLOWS)
    spec.write_text(head + SUMMARY_FOLLOWS + summary() + tail[tail.index('"""') :])


if __name__ == "__main__":
    main()
