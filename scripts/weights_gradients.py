"""Gradients of narrowed models at compressed activations, real weights on real photos: docs/accuracy/gradients.md.

    python scripts/weights_gradients.py

For each model, photos and weight format: the cosine between the bias gradient with everything exact and with
activations at a few bits, regions recomputed, of the same narrowed model on the same photos; and between the exact
gradients beside narrowed and float weights. And what coding each single weight does to the gradient, beside what a
profile of the coded model says of it. Needs ../shared/data.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import math
import sys
from collections.abc import Collection
from typing import Any

import torch
from accuracy_runs import DATA, PROTOCOLS, ROOT, WEIGHTS, Cell, make_model, photos
from torch import Tensor

from s2a_core.compression import discover, narrow_weights
from s2a_core.compression.discover import uniform_policy
from s2a_core.kernels import enable_native
from s2a_core.models import data_config
from s2a_core.profiling.runs import gradient, relative_error, run_step
from s2a_core.profiling.weights import coded_weights, weight_errors
from s2a_core.storage import WEIGHT_FORMATS, StoragePolicy, WeightFormat
from s2a_core.train.images import evaluation_transform
from s2a_core.train.mode import resting_modules, training_mode

OUT = ROOT / "docs" / "accuracy" / "gradients.json"
BITS, PHOTOS, ADAPTER = (4, 6, 8), 32, "bias"
PHOTOS_OF_ONE = 8  # for every single weight a step
HEADING = f"""# Gradients beside weights in few bits

Cosine of the gradient of `{ADAPTER}` over {PHOTOS} training photos, fp32, real weights and photos. At n bits:
activations everywhere at that many bits, regions recomputed, against exact activations, both of the model with those
weights. The last column: exact activations, these weights against float ones. Written by
`python scripts/weights_gradients.py`.

| weights, photos | kept as | {" | ".join(f"at {bits} bits" for bits in BITS)} | beside float weights |
|---|---|{"--:|" * (len(BITS) + 1)}
"""


HEADING_OF_SINGLE = f"""
## One weight at a time

Relative error of the same gradient, of {PHOTOS_OF_ONE} photos, activations exact. true: of all coded weights against
float ones; measured: what the profile of the coded model says without these (`s2a_core/profiling/weights.py`);
correlation: of both over single weights, in the logarithm. worst: the weight whose codes do most, its share of all
squared errors and bytes.

| weights, photos | kept as | weights | true | measured | correlation | worst | of errors | of bytes |
|---|---|--:|--:|--:|--:|---|--:|--:|
"""


def cosines(model_name: str, dataset: str) -> list[dict[str, Any]]:
    """A row for each weight format."""
    rows, plain = [], None
    for weight_format in WEIGHT_FORMATS:
        model, x, y = _model_and_photos(model_name, dataset, PHOTOS)
        narrow_weights(model, weight_format)
        sites = discover(model, x[:2])
        exact = _gradient(model, x, y, StoragePolicy())
        plain = exact if plain is None else plain
        compressed = {bits: _gradient(model, x, y, uniform_policy(sites, bits, recompute=True)) for bits in BITS}
        rows.append(
            {
                "model": model_name, "dataset": dataset, "weight_format": weight_format,
                "at_bits": {str(bits): _cosine(found, exact) for bits, found in compressed.items()},
                "beside_float": _cosine(exact, plain),
            }
        )  # fmt: skip
    return rows


def sensitivities(model_name: str, dataset: str) -> list[dict[str, Any]]:
    """A row for each coded format: errors of the gradient by each weight's codes, true ones and the profile's."""
    rows = []
    model, x, y = _model_and_photos(model_name, dataset, PHOTOS_OF_ONE)
    training_mode(model, resting_modules(model, ADAPTER))
    exact = _gradient(model, x, y, StoragePolicy())
    for weight_format in WEIGHT_FORMATS[1:]:
        whole = _coded(model, weight_format)
        measured = weight_errors(whole, functools.partial(_gradient, whole, x, y, StoragePolicy()), math.inf)
        true = {}
        for name in measured:
            alone = _coded(model, weight_format, measured.keys() - {name})
            true[name] = relative_error(_gradient(alone, x, y, StoragePolicy()), exact)
        worst = max(true, key=lambda name: true[name])
        sizes = {name: weight.codes.num_bytes for name, weight in coded_weights(whole).items()}
        pairs = torch.tensor([[true[name], measured[name]] for name in measured]).log()
        rows.append(
            {
                "model": model_name, "dataset": dataset, "weight_format": weight_format, "weights": len(true),
                "true": relative_error(_gradient(whole, x, y, StoragePolicy()), exact),
                "measured": sum(error**2 for error in measured.values()) ** 0.5,
                "correlation": float(torch.corrcoef(pairs.T)[0, 1]), "worst": worst,
                "worst_share": true[worst] ** 2 / sum(error**2 for error in true.values()),
                "worst_bytes": sizes[worst] / sum(sizes.values()),
            }
        )  # fmt: skip
    return rows


def _coded(model: torch.nn.Module, weight_format: WeightFormat, wide: Collection[str] = ()) -> torch.nn.Module:
    coded = copy.deepcopy(model)
    narrow_weights(coded, weight_format, wide)
    return coded


def _model_and_photos(model_name: str, dataset: str, count: int) -> tuple[torch.nn.Module, Tensor, Tensor]:
    protocol = PROTOCOLS[model_name, dataset]
    data = photos(dataset, protocol, False)
    model = make_model(Cell(dataset, model_name, ADAPTER, "exact", 0), protocol, len(data.classes))
    split = data.train.with_transform(evaluation_transform(data_config(model, protocol.image_size)))
    pairs = [split[i] for i in range(count)]
    return model, torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs])


def _gradient(model: torch.nn.Module, x: Tensor, y: Tensor, policy: StoragePolicy) -> Tensor:
    model.zero_grad(set_to_none=True)
    run_step(model, x, y, policy, "fp32", is_metered=False)
    return gradient(model)


def _cosine(actual: Tensor, expected: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(actual, expected, dim=0))


def markdown(rows: list[dict[str, Any]], of_single: list[dict[str, Any]]) -> str:
    """docs/accuracy/gradients.md."""
    lines = []
    for row in rows:
        values = [*row["at_bits"].values(), row["beside_float"]]
        cells = " | ".join(f"{value:.4f}" for value in values)
        lines.append(f"| {row['model']}, {row['dataset']} | {row['weight_format']} | {cells} |\n")
    singles = [
        f"| {row['model']}, {row['dataset']} | {row['weight_format']} | {row['weights']} | {row['true']:.3f} | "
        f"{row['measured']:.3f} | {row['correlation']:.2f} | {row['worst']} | {row['worst_share']:.0%} | "
        f"{row['worst_bytes']:.1%} |\n"
        for row in of_single
    ]
    return HEADING + "".join(lines) + HEADING_OF_SINGLE + "".join(singles)


def main() -> None:
    """Both models on both sets of photos."""
    enable_native()
    rows: list[dict[str, Any]] = []
    of_single: list[dict[str, Any]] = []
    for dataset, model in itertools.product(DATA, WEIGHTS):
        rows += cosines(model, dataset)
        of_single += sensitivities(model, dataset)
        sys.stderr.write(f"{model}, {dataset}\n")
        document = {"torch": torch.__version__, "rows": rows, "of_single": of_single}
        OUT.write_text(json.dumps(document, indent=1) + "\n")
        OUT.with_suffix(".md").write_text(markdown(rows, of_single))


if __name__ == "__main__":
    main()
