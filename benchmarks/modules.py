"""`python -m benchmarks.modules`: models that are no timm classifiers, with their own inputs and losses.

Each gets adapters, is profiled, planned for a batch of 8 halfway between the smallest and the roomiest budget, and
verified, on the CPU with random weights. Gradients are compared with stock PyTorch's: under a session that keeps
everything exact, and in 8-bit codes, site by site and with every region or block rebuilt. A model that fails has a row
that says why. With --double the peaks alone, of a batch of 64, on a CUDA device without silicon (tests/fakegpu).
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import logging
import sys
import warnings
from pathlib import Path

import torch
import transformers
from torch import nn
from torchvision.ops import generalized_box_iou
from transformers.loss import loss_for_object_detection

from benchmarks.gpu import run_process
from benchmarks.module_cases import CASES
from benchmarks.modules_table import BATCH, BATCH_ON_DOUBLE, Row, table
from benchmarks.modules_torch import Made
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.batches import Samples, forward, loss_of, samples_of_pair
from s2a_core.compression import compress
from s2a_core.device import open_device
from s2a_core.device.libraries import configure
from s2a_core.device.memory import DeviceMemory
from s2a_core.planning import Plan, plan
from s2a_core.planning.replan import Replanner
from s2a_core.planning.search import smallest_budget
from s2a_core.profiling import profile
from s2a_core.profiling.runs import gradient, unchanged
from s2a_core.profiling.types import Profile
from s2a_core.storage import Storage, StoragePolicy
from s2a_core.train.mode import resting_modules, training_mode
from s2a_core.verify import verify

log = logging.getLogger("benchmarks.modules")
BITS, ROOMY_BYTES = 8, 2**50
# On CUDA a process has the cuBLAS workspaces of its budget. Here every budget is planned in one: it has the small ones.
SMALL_BUDGET = 2**20
DEVICE_MIB = 24_576
AS_IT_IS = "as it is"  # the model's own trainable parameters
# Small and different: with every test run.
OFTEN = ("image and numbers", "DETR", "ViT + LoRA")


def check(name: str, device: str = "cpu") -> Row:
    """The row of one model; a failure is part of it, not an exception. On CUDA without cosines."""
    case = CASES[name]
    row = Row(name, case.library, case.task, case.adapter)
    try:
        torch.manual_seed(0)
        return _checked(row, case.make(), device)
    except Exception as error:  # the table is about every model: a failing one is a row
        return dataclasses.replace(row, failure=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def _checked(row: Row, made: Made, device: str) -> Row:
    model, own = made.model, row.adapter == AS_IT_IS
    if not own:
        model = add_adapters(model, AdapterSpec.parse(row.adapter), example=made.inputs)
    adapter = "" if own else row.adapter
    memory = open_device(device)
    model = model.to(device)
    profiled = profile(
        model, example=(made.inputs, made.targets), loss=made.loss, name=row.name, adapter=adapter,
        has_baselines=False, sensitivity_s=0, refine_s=0,
    )  # fmt: skip
    x, y = samples_of_pair((made.inputs, made.targets), made.loss)
    row = dataclasses.replace(row, sites=len(profiled.sites))
    if memory is None:
        training_mode(model, resting_modules(model, adapter))
        row = _with_cosines(row, model, x, y, profiled)
    return _with_peaks(row, model, x, y, profiled, memory)


def _with_cosines(row: Row, model: nn.Module, x: Samples, y: Samples, profiled: Profile) -> Row:
    stock = _gradient(model, x, y, None)
    # The unused name keeps the session from standing aside: every call passes through it.
    exact = _gradient(model, x, y, StoragePolicy({"nothing:none": Storage.B8}, Storage.EXACT))
    coded = _gradient(model, x, y, Plan.uniform(profiled, BITS, len(x)).policy)
    rebuilds = any(site.op in ("region", "block") for site in profiled.sites)
    rebuilt = _gradient(model, x, y, Plan.uniform(profiled, BITS, len(x), recompute=True).policy) if rebuilds else None
    return dataclasses.replace(
        row,
        cosine_exact=_cosine(exact, stock),
        cosine_8bit=_cosine(coded, stock),
        cosine_rebuilt=None if rebuilt is None else _cosine(rebuilt, stock),
    )


def _with_peaks(
    row: Row, model: nn.Module, x: Samples, y: Samples, profiled: Profile, memory: DeviceMemory | None
) -> Row:
    batch = BATCH if memory is None else BATCH_ON_DOUBLE
    roomy = plan(profiled, ROOMY_BYTES, batch, has_frontier=False).predicted.needed_bytes
    budget_bytes = (roomy + smallest_budget(profiled, batch)) // 2
    if memory is not None:
        memory.limit(budget_bytes)
    made_plan = plan(profiled, budget_bytes, batch, has_frontier=False)
    verified = verify(model, made_plan, x, y, Replanner(profiled))
    return dataclasses.replace(
        row,
        budget_bytes=budget_bytes,
        predicted_bytes=verified.predicted_peak_bytes,
        measured_bytes=verified.measured_peak_bytes,
        promised_bytes=verified.plan.predicted.peak_bytes,
        context_bytes=0 if memory is None else memory.outside_bytes(),
        rounds=verified.rounds,
    )


def _gradient(model: nn.Module, x: Samples, y: Samples, policy: StoragePolicy | None) -> torch.Tensor:
    """The trainable gradient of one step, without a policy stock PyTorch's, from the same state and random numbers."""
    torch.manual_seed(2)
    with unchanged(model):
        if policy is None:
            loss = loss_of(forward(model, x), y)
        else:
            with compress(model, policy):
                loss = loss_of(forward(model, x), y)
        loss.backward()
        return gradient(model)


def _cosine(actual: torch.Tensor, exact: torch.Tensor) -> float:
    return float(nn.functional.cosine_similarity(actual.double(), exact.double(), dim=0))


def _check_on_double(name: str) -> Row:
    """In a process of its own on a device without silicon."""
    command = [sys.executable, "-m", "benchmarks.modules", "--here", name]
    done = run_process(command, is_on_double=True, device_mib=DEVICE_MIB)
    if done.returncode:
        case, lines = CASES[name], done.stderr.strip().splitlines()
        return Row(name, case.library, case.task, case.adapter, failure=lines[-1][:300] if lines else "crashed")
    document = json.loads(done.stdout.splitlines()[-1])  # libraries print to stdout too
    return dataclasses.replace(Row(**document), held_bytes=done.use.peak_bytes)


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if every model is good. Rows in the result file are kept; named models are run again."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modules", description=__doc__)
    parser.add_argument("models", nargs="*", help="names in the table (default: all that the file lacks)")
    parser.add_argument("--output", type=Path, help="docs/bench/modules.json, with --double modules_on_cuda.json")
    parser.add_argument("--fresh", action="store_true", help="measure again what the file has")
    parser.add_argument("--double", action="store_true", help="peaks on a CUDA device without silicon")
    parser.add_argument("--here", metavar="MODEL", help="measure this one on the CUDA device here and print its row")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    warnings.simplefilter("ignore")  # the libraries' own, of small configurations
    transformers.logging.set_verbosity_error()
    if args.here:
        configure(SMALL_BUDGET)
        loss_for_object_detection.generalized_box_iou = generalized_box_iou  # that of transformers looks at values
        sys.stdout.write(json.dumps(dataclasses.asdict(check(args.here, "cuda"))) + "\n")
        return 0
    output = args.output or Path("docs/bench/modules_on_cuda.json" if args.double else "docs/bench/modules.json")
    known = {} if args.fresh or not output.exists() else json.loads(output.read_text())
    for name in args.models or [name for name in CASES if name not in known]:
        row = _check_on_double(name) if args.double else check(name)
        log.info("%-28s %s", name, "; ".join(row.misses) or "good")
        known[name] = dataclasses.asdict(row)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(known, indent=1) + "\n")
        gc.collect()
    rows = [Row(**known[name]) for name in CASES if name in known]
    output.with_suffix(".md").write_text(table(rows, args.double))
    return 0 if all(row.is_good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
