"""`python -m benchmarks.modules`: models that are no timm classifiers, with their own inputs and losses.

Each gets adapters, is profiled, planned for a batch of 8 halfway between the smallest and the roomiest budget, and
verified, on the CPU with random weights. Gradients are compared with stock PyTorch's: under a session that keeps
everything exact, and in 8-bit codes, site by site and with every region or block rebuilt. A model that fails has a row
that says why.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import logging
import statistics
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import peft
import torch
import torchvision
import transformers
from torch import nn

from benchmarks.module_cases import CASES
from benchmarks.modules_torch import Made
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.batches import Samples, forward, loss_of, samples_of_pair
from s2a_core.compression import compress
from s2a_core.planning import Plan, plan
from s2a_core.planning.replan import Replanner
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling import profile
from s2a_core.profiling.runs import gradient
from s2a_core.storage import Storage, StoragePolicy
from s2a_core.train.mode import resting_modules, training_mode
from s2a_core.verify import verify

log = logging.getLogger("benchmarks.modules")
BATCH, BITS, ROOMY_BYTES = 8, 8, 2**50
AS_IT_IS = "as it is"  # the model's own trainable parameters
LEAST_EXACT, LEAST_AT_8_BITS, MOST_OFF = 1 - 1e-6, 0.999, 0.05
OVER = "predicted too much"
# Small and different: with every test run.
OFTEN = ("image and numbers", "DETR", "ViT + LoRA")


@dataclasses.dataclass(frozen=True)
class Row:
    """One model. Cosines are of the trainable gradient with stock's; predicted before the plan ran, promised after."""

    name: str
    library: str
    task: str
    adapter: str
    sites: int = 0
    cosine_exact: float = 0.0
    cosine_8bit: float = 0.0
    cosine_rebuilt: float | None = None
    budget_bytes: int = 0
    predicted_bytes: int = 0
    measured_bytes: int = 0
    promised_bytes: int = 0
    failure: str = ""

    @property
    def off(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_bytes / self.measured_bytes - 1 if self.measured_bytes else 0.0

    @property
    def misses(self) -> list[str]:
        """What is not as it should be, in words."""
        if self.failure:
            return [f"failed: {self.failure}"]
        return [
            words for is_missed, words in (
                (self.cosine_exact < LEAST_EXACT, "exact storage is not stock's gradient"),
                (self.cosine_8bit < LEAST_AT_8_BITS, "8-bit codes turn the gradient"),
                (self.measured_bytes > self.budget_bytes, "ABOVE its budget"),
                (self.measured_bytes > self.promised_bytes, "above what verification promised"),
                (self.off < -MOST_OFF, "predicted too little before verification"),
                (self.off > MOST_OFF, OVER),
            ) if is_missed
        ]  # fmt: skip

    @property
    def is_good(self) -> bool:
        """Ran inside its budget as predicted, and its gradients are stock's."""
        return not self.misses


def check(name: str) -> Row:
    """The row of one model; a failure is part of it, not an exception."""
    case = CASES[name]
    row = Row(name, case.library, case.task, case.adapter)
    try:
        torch.manual_seed(0)
        return _checked(row, case.make())
    except Exception as error:  # the table is about every model: a failing one is a row
        return dataclasses.replace(row, failure=f"{type(error).__name__}: {str(error)[:300]}")


def _checked(row: Row, made: Made) -> Row:
    model, own = made.model, row.adapter == AS_IT_IS
    if not own:
        model = add_adapters(model, AdapterSpec.parse(row.adapter), example=made.inputs)
    adapter = "" if own else row.adapter
    x, y = samples_of_pair((made.inputs, made.targets), made.loss)
    profiled = profile(
        model, example=(made.inputs, made.targets), loss=made.loss, name=row.name, adapter=adapter,
        has_baselines=False, sensitivity_s=0, refine_s=0,
    )  # fmt: skip
    training_mode(model, resting_modules(model, adapter))
    stock = _gradient(model, x, y, None)
    # The unused name keeps the session from standing aside: every call passes through it.
    exact = _gradient(model, x, y, StoragePolicy({"nothing:none": Storage.B8}, Storage.EXACT))
    coded = _gradient(model, x, y, Plan.uniform(profiled, BITS, len(x)).policy)
    rebuilds = any(site.op in ("region", "block") for site in profiled.sites)
    rebuilt = _gradient(model, x, y, Plan.uniform(profiled, BITS, len(x), recompute=True).policy) if rebuilds else None
    roomy = plan(profiled, ROOMY_BYTES, BATCH, has_frontier=False).predicted.peak_bytes
    budget_bytes = (roomy + smallest_budget(profiled, BATCH)) // 2
    made_plan = plan(profiled, budget_bytes, BATCH, has_frontier=False)
    verified = verify(model, made_plan, x, y, Replanner(profiled))
    return dataclasses.replace(
        row,
        sites=len(profiled.sites),
        cosine_exact=_cosine(exact, stock),
        cosine_8bit=_cosine(coded, stock),
        cosine_rebuilt=None if rebuilt is None else _cosine(rebuilt, stock),
        budget_bytes=budget_bytes,
        predicted_bytes=verified.predicted_peak_bytes,
        measured_bytes=verified.measured_peak_bytes,
        promised_bytes=verified.plan.predicted.peak_bytes,
    )


def _gradient(model: nn.Module, x: Samples, y: Samples, policy: StoragePolicy | None) -> torch.Tensor:
    """The trainable gradient of one step, by stock PyTorch without a policy, of the same random numbers each time."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(2)
    if policy is None:
        loss = loss_of(forward(model, x), y)
    else:
        with compress(model, policy):
            loss = loss_of(forward(model, x), y)
    loss.backward()
    return gradient(model)


def _cosine(actual: torch.Tensor, exact: torch.Tensor) -> float:
    return float(nn.functional.cosine_similarity(actual.double(), exact.double(), dim=0))


def table(rows: Iterable[Row]) -> str:
    """The rows as Markdown, with the errors of the predictions in one line above."""
    rows = list(rows)
    errors = [abs(row.off) for row in rows if not row.failure]
    lines = [
        f"Made by `python -m benchmarks.modules`: batch {BATCH}, random weights, CPU, fp32; MiB of tensors alive. "
        f"torch {torch.__version__}, torchvision {torchvision.__version__}, transformers {transformers.__version__}, "
        f"peft {peft.__version__}.",
        "",
        f"{sum(row.is_good for row in rows)} of {len(rows)} models are good: cosine at exact storage at least 1 - 1e-6 "
        f"and in 8-bit codes at least {LEAST_AT_8_BITS}, the peak inside the budget, within {100 * MOST_OFF:.0f} % of "
        "the prediction and never above what verification promised.",
    ]
    if errors:
        lines.append(
            f"Predicted against measured peak: median {100 * statistics.median(errors):.2f} %, worst "
            f"{100 * max(errors):.2f} %. Predicted too much, where it was looked into (DPT, torchvision's ViT): a site "
            "that is kept exact beside exact ones is charged what neighbours in codes would leave alive."
        )
    lines += [
        "",
        "| model | library | task | adapter | sites | 1 - cosine, exact | cosine, 8 bit | cosine, rebuilt from 8 bit "
        "| budget | predicted | measured | off | result |",
        "|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for r in rows:
        start = f"| {r.name} | {r.library} | {r.task} | {r.adapter} |"
        result = "; ".join(r.misses).replace("|", "/") or "good"
        if r.failure:
            lines.append(f"{start} | | | | | | | | {result} |")
            continue
        sizes = " | ".join(f"{b / 2**20:.2f}" for b in (r.budget_bytes, r.predicted_bytes, r.measured_bytes))
        rebuilt = "-" if r.cosine_rebuilt is None else f"{r.cosine_rebuilt:.5f}"
        lines.append(
            f"{start} {r.sites} | {max(1 - r.cosine_exact, 0):.1e} | {r.cosine_8bit:.5f} | {rebuilt} | {sizes} "
            f"| {100 * r.off:+.2f} % | {result} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if every model is good. Rows in the result file are kept; named models are run again."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modules", description=__doc__)
    parser.add_argument("models", nargs="*", help="names in the table (default: all that the file lacks)")
    parser.add_argument("--output", type=Path, default=Path("docs/bench/modules.json"))
    parser.add_argument("--fresh", action="store_true", help="measure again what the file has")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    warnings.simplefilter("ignore")  # the libraries' own, of small configurations
    transformers.logging.set_verbosity_error()
    known = {} if args.fresh or not args.output.exists() else json.loads(args.output.read_text())
    for name in args.models or [name for name in CASES if name not in known]:
        row = check(name)
        log.info("%-28s %s", name, "; ".join(row.misses) or "good")
        known[name] = dataclasses.asdict(row)
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(known, indent=1) + "\n")
        gc.collect()
    rows = [Row(**known[name]) for name in CASES if name in known]
    args.output.with_suffix(".md").write_text(table(rows))
    return 0 if all(row.is_good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
