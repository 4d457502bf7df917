"""Gradients of narrowed models at compressed activations, real weights on real photos: docs/accuracy/gradients.md.

    python scripts/weights_gradients.py

For each model, photos and weight format: the cosine between the bias gradient with everything exact and with
activations at a few bits, regions recomputed, of the same narrowed model on the same photos; and between the exact
gradients beside narrowed and float weights. Needs ../shared/data.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import torch
from accuracy_runs import DATA, PROTOCOLS, ROOT, WEIGHTS, Cell, make_model, photos
from torch import Tensor

from s2a_core.compression import discover, narrow_weights
from s2a_core.compression.discover import uniform_policy
from s2a_core.kernels import enable_native
from s2a_core.models import data_config
from s2a_core.profiling.runs import gradient, run_step
from s2a_core.storage import WEIGHT_FORMATS, StoragePolicy
from s2a_core.train.images import evaluation_transform

OUT = ROOT / "docs" / "accuracy" / "gradients.json"
BITS, PHOTOS, ADAPTER = (4, 6, 8), 32, "bias"
HEADING = f"""# Gradients beside weights in few bits

Cosine of the gradient of `{ADAPTER}` over {PHOTOS} training photos, fp32, real weights and photos. At n bits:
activations everywhere at that many bits, regions recomputed, against exact activations, both of the model with those
weights. The last column: exact activations, these weights against float ones. Written by
`python scripts/weights_gradients.py`.

| weights, photos | kept as | {" | ".join(f"at {bits} bits" for bits in BITS)} | beside float weights |
|---|---|{"--:|" * (len(BITS) + 1)}
"""


def cosines(model_name: str, dataset: str) -> list[dict[str, Any]]:
    """A row for each weight format."""
    protocol = PROTOCOLS[model_name, dataset]
    cell = Cell(dataset, model_name, ADAPTER, "exact", 0)
    data = photos(dataset, protocol, False)
    rows, plain = [], None
    for weight_format in WEIGHT_FORMATS:
        model = make_model(cell, protocol, len(data.classes))
        split = data.train.with_transform(evaluation_transform(data_config(model, protocol.image_size)))
        pairs = [split[i] for i in range(PHOTOS)]
        x, y = torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs])
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


def _gradient(model: torch.nn.Module, x: Tensor, y: Tensor, policy: StoragePolicy) -> Tensor:
    model.zero_grad(set_to_none=True)
    run_step(model, x, y, policy, "fp32", is_metered=False)
    return gradient(model)


def _cosine(actual: Tensor, expected: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(actual, expected, dim=0))


def markdown(rows: list[dict[str, Any]]) -> str:
    """docs/accuracy/gradients.md."""
    lines = []
    for row in rows:
        values = [*row["at_bits"].values(), row["beside_float"]]
        cells = " | ".join(f"{value:.4f}" for value in values)
        lines.append(f"| {row['model']}, {row['dataset']} | {row['weight_format']} | {cells} |\n")
    return HEADING + "".join(lines)


def main() -> None:
    """Both models on both sets of photos."""
    enable_native()
    rows: list[dict[str, Any]] = []
    for dataset, model in itertools.product(DATA, WEIGHTS):
        rows += cosines(model, dataset)
        sys.stderr.write(f"{rows[-len(WEIGHT_FORMATS) :]}\n")
        OUT.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")
        OUT.with_suffix(".md").write_text(markdown(rows))


if __name__ == "__main__":
    main()
