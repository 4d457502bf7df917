"""Predicted against true gradient errors, and the planner's choice against uniform bits at the same bytes.

    python scripts/sensitivity.py deit_tiny_patch16_224 --weights FILE --size 224 --plans 12 [--json FILE]

Without weights the model is random. Prints the rank correlation and the range of true / predicted over random mixed
plans, then, at the bytes of uniform 4, 3 and 2 bits, both true errors.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from scipy.stats import spearmanr
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.models import load_model
from s2a_core.planning import Plan
from s2a_core.planning.memory import held_bytes
from s2a_core.planning.peak import Peak
from s2a_core.planning.scoring import gradient_error
from s2a_core.planning.solve import Program
from s2a_core.planning.uniform import held_only
from s2a_core.profiling import Profile, profile
from s2a_core.profiling.runs import gradient, relative_error, run_step
from s2a_core.storage import Storage, StoragePolicy

SAMPLES = 4


def main() -> None:
    """Measures one model and prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--adapter", default="bias")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--plans", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=120.0, help="for the sensitivities, and again to refine them")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    model = load_model(given.model, given.weights, 10)
    if hasattr(model, "set_input_size"):
        model.set_input_size(given.size)
    model = add_adapters(model, AdapterSpec.parse(given.adapter), given.size)
    x, y = torch.randn(SAMPLES, 3, given.size, given.size), torch.arange(SAMPLES) % 10
    found = profile(
        model, given.size, SAMPLES, calibration=(x, y), name=given.model, adapter=given.adapter, has_baselines=False,
        sensitivity_s=given.seconds, refine_s=given.seconds,
    )  # fmt: skip
    measure = Errors(model, x, y)
    document: dict[str, Any] = {"model": given.model, "size": given.size, "weights": given.weights != "none"}
    document |= compare(found, measure, given.plans) | {"uniform": against_uniform(found, measure)}
    Console().print_json(json.dumps(document))
    if given.json:
        given.json.write_text(json.dumps(document, indent=2))


class Errors:
    """True relative gradient errors of storages, on one batch."""

    def __init__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        self.model, self.x, self.y = model.train(), x, y
        run_step(model, x, y, StoragePolicy(), "fp32", is_metered=False)
        self.exact = self._gradient({})

    def _gradient(self, sites: dict[str, Storage]) -> torch.Tensor:
        for parameter in self.model.parameters():
            parameter.grad = None
        run_step(self.model, self.x, self.y, StoragePolicy(sites, chunk_samples=1), "fp32", is_metered=False)
        return gradient(self.model)

    def __call__(self, sites: dict[str, Storage]) -> float:
        return relative_error(self._gradient(sites), self.exact)


def compare(found: Profile, measure: Errors, number: int) -> dict[str, Any]:
    """Rank correlation and the range of true / predicted over random mixed plans of different mean widths."""
    draw = random.Random(0)
    predicted, true = [], []
    for i in range(number):
        lowest = 2 + i % 5  # plans from coarse to fine
        sites = {}
        for site in found.sites:
            fits = [o.storage for o in site.options if o.storage.bits is None or lowest <= o.storage.bits <= lowest + 2]
            if site.op == "block":
                fits = [Storage.NONE]
            sites[site.name] = draw.choice(fits)
        predicted.append(gradient_error(found, sites))
        true.append(measure(sites))
    ratios = [t / max(p, 1e-12) for t, p in zip(true, predicted, strict=True)]
    rank = float(spearmanr(predicted, true).statistic)
    return {"rank_correlation": rank, "true_over_predicted": [min(ratios), max(ratios)], "plans": number,
            "predicted": predicted, "true": true}  # fmt: skip


def against_uniform(found: Profile, measure: Errors) -> list[dict[str, Any]]:
    """At the bytes of uniform widths: the true error of uniform bits and of the best choice."""
    program = Program(Peak(held_only(found), SAMPLES))
    rows = []
    for bits in (4, 3, 2):
        uniform = dict(Plan.uniform(found, bits).sites)
        size = held_bytes(found, uniform, SAMPLES)
        best = program.solve(size, lambda site, option: option.gradient_error**2)
        assert best is not None  # the uniform choice itself fits
        ours = {**{s.name: Storage.NONE for s in found.sites if s.op in ("region", "block")}, **best.sites}
        row = {"bits": bits, "bytes": size, "bytes_ours": held_bytes(found, ours, SAMPLES)}
        row |= {"uniform": measure(uniform), "ours": measure(ours), "predicted": gradient_error(found, ours)}
        row["ratio"] = row["ours"] / row["uniform"]
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
