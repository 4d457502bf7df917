"""`python -m benchmarks.large`: models whose weights are the peak, on a device without silicon, beyond its context.

One contestant a process, built on the device, where a weight takes no memory of this machine. Every contestant has its
frozen weights in bf16 or codes, trained ones in fp32, bf16 autocast, AdamW, and all weights on the device.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from benchmarks.gpu import checkpointed, peaks, run_process, train_steps
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.compression import discover, prepare_frozen_weights
from s2a_core.compression.discover import uniform_policy
from s2a_core.device import open_device, release_cached
from s2a_core.device.libraries import configure
from s2a_core.sizes import MIB
from s2a_core.storage import WEIGHT_FORMATS, Optimizer, Storage, StoragePolicy, WeightFormat
from s2a_core.train.optimizers import make_adamw, step_in_backward

log = logging.getLogger("benchmarks.large")
CLASSES, DEVICE_MIB, BITS = 100, 143_360, 4
CONTEXT_BYTES = 431 * MIB  # of the device without silicon, code of its kernels included
LORA, CHECKPOINTED = "LoRA", "LoRA + checkpointing"
OURS: dict[str, WeightFormat] = {f"s2a, {name} weights": name for name in WEIGHT_FORMATS}
CONTESTANTS = (LORA, CHECKPOINTED, *OURS)
NARROWEST = CONTESTANTS[-1]
# Contestants that train all weights -> s2a's optimizer, and whether it steps in backward; None: stock with AdamW.
IN_BACKWARD = "s2a, adamw8bit in backward"
IN_BF16 = f"{IN_BACKWARD}, bf16 weights"
FULL: dict[str, tuple[Optimizer, bool] | None] = {
    "full": None,
    "full + checkpointing": None,
    "s2a, adamw": ("adamw", False),
    "s2a, adamw8bit": ("adamw8bit", False),
    IN_BACKWARD: ("adamw8bit", True),
    IN_BF16: ("adamw8bit", True),
}


@dataclass(frozen=True)
class Case:
    """A model at an image size and batch, and the adapter that s2a trains.

    budget_mib: MiB beyond the context that s2a with nf4 weights is given, as a job that the allocator holds to it.
    """

    model: str
    image_size: int
    batch: int
    adapter: str = "lora-lite"
    budget_mib: int = 0

    @property
    def contestants(self) -> tuple[str, ...]:
        """Those that train the same weights."""
        return tuple(FULL) if self.adapter == "full" else CONTESTANTS


CASES = {
    "ViT-L": Case("vit_large_patch16_224", 224, 32, budget_mib=345),
    "DINOv2-g": Case("vit_giant_patch14_dinov2", 224, 8),
    "so400m": Case("vit_so400m_patch14_siglip_384", 384, 32),
    "ViT-H": Case("vit_huge_patch14_224", 224, 8),
    "SAM-B": Case("samvit_base_patch16", 1024, 1),
    "SAM-H": Case("samvit_huge_patch16", 1024, 1),
    "7B": Case("vit_7b_patch16_dinov3", 224, 1),
    "ViT-H, all weights": Case("vit_huge_patch14_224", 224, 8, "full"),
}


def measure(case: Case, contestant: str) -> dict[str, Any]:
    """Three steps: bytes allocated, reserved and held, and of the weights alone."""
    budget = case.budget_mib * MIB + CONTEXT_BYTES if case.budget_mib and contestant == NARROWEST else 0
    configure(budget)
    memory = open_device("cuda")
    assert memory is not None
    model, plan = prepared(case, contestant)
    release_cached("cuda")
    memory.limit(budget)  # the model was built here, of numbers
    weights = sum({p.untyped_storage()._cdata: p.untyped_storage().nbytes() for p in model.parameters()}.values())
    x = torch.randn(case.batch, 3, case.image_size, case.image_size).cuda()
    train_steps(model, plan, x, (torch.arange(case.batch) % CLASSES).cuda(), _optimizer(model, contestant))
    return {"contestant": contestant, **vars(case), "weights_bytes": weights, **peaks(memory)}


def _optimizer(model: nn.Module, contestant: str) -> torch.optim.Optimizer | None:
    """Of s2a's contestants that train all weights; None for stock's AdamW."""
    name, is_in_backward = FULL.get(contestant) or ("adamw", False)
    if not is_in_backward:
        return make_adamw(name, [{"params": list(model.parameters())}], 1e-4) if contestant in FULL else None
    step_in_backward(model.parameters(), lambda one: make_adamw(name, [{"params": one}], 1e-4))
    return torch.optim.SGD([torch.zeros(())])  # nothing is left for the step after backward


def prepared(case: Case, contestant: str) -> tuple[nn.Module, StoragePolicy | None]:
    """The model on the device, in training mode, and what it is trained under."""
    with torch.device("meta"):
        options: dict[str, Any] = (
            {"img_size": case.image_size} if case.model.startswith(("vit_giant", "vit_7b")) else {}
        )
        model: nn.Module = timm.create_model(case.model, num_classes=CLASSES, **options)
    model = model.to_empty(device="cuda")
    if contestant in FULL:
        if "checkpointing" in contestant:
            checkpointed(model)
        model = add_adapters(model, AdapterSpec.parse(case.adapter), case.image_size).train()
        model = model.bfloat16() if contestant == IN_BF16 else model
        return model, _of_blocks(model, case.image_size) if FULL[contestant] else None
    if contestant not in OURS:
        if contestant == CHECKPOINTED:
            checkpointed(model)
        model = _stock_lora(model)
        prepare_frozen_weights(model, "bf16")
        return model.train(), None
    model = add_adapters(model, AdapterSpec.parse(case.adapter), case.image_size)
    prepare_frozen_weights(model, "bf16", OURS[contestant])
    model.train()
    return model, _of_blocks(model, case.image_size)


def _of_blocks(model: nn.Module, image_size: int) -> StoragePolicy:
    """Every block rebuilt from codes of its input, one image a chunk; of models without blocks the regions."""
    sites = discover(model, torch.zeros(1, 3, image_size, image_size, device="cuda"), "bf16")
    policy = uniform_policy(sites, BITS, recompute=True, chunk_samples=1, frozen_weights="bf16")
    blocks = {site.name: Storage(f"b{BITS}") for site in sites if site.op == "block"}
    return replace(policy, sites={**policy.sites, **blocks})


def _stock_lora(model: nn.Module) -> nn.Module:
    """Rank 2 on the layers that widen, as lora-lite has it, by peft's own forward."""
    from peft import LoraConfig, get_peft_model

    head = {id(module) for module in model.get_classifier().modules()}  # type: ignore[operator]
    widening = [
        name for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features > module.in_features and id(module) not in head
    ]  # fmt: skip
    wrapped: nn.Module = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules=widening))
    for parameter in wrapped.base_model.model.get_classifier().parameters():  # type: ignore[operator, union-attr]
        parameter.requires_grad_(True)
    return wrapped


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The tables, of adapters and of all weights: MiB beyond the context, reserved; a case a row."""
    by_case: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_case.setdefault(row["case"], {})[row["contestant"]] = row
    tables = []
    for contestants in (CONTESTANTS, tuple(FULL)):
        lines = ["| | " + " | ".join(contestants) + " |", "|---|" + "--:|" * len(contestants)]
        for name, of_case in by_case.items():
            case = CASES[name]
            if case.contestants == contestants:
                cells = [_cell(of_case.get(contestant)) for contestant in contestants]
                lines.append(f"| {name}, {case.image_size} px, batch {case.batch} | " + " | ".join(cells) + " |")
        tables += ["\n".join(lines) + "\n"] if len(lines) > 2 else []
    return "\n".join(tables)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not run"
    if "error" in row:
        return str(row["error"])
    return f"{(row['held_bytes'] - row['context_bytes']) / MIB:,.0f} ({row['weights_bytes'] / MIB:,.0f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0. Rows that are in the output already are measured again only where they are named."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--case", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--contestant", nargs="*", choices=[*CONTESTANTS, *FULL])
    parser.add_argument("--here", action="store_true", help="measure in this process and print the row")
    parser.add_argument("--output", type=Path, default=Path("docs/bench/large.json"))
    options = parser.parse_args(argv)
    if options.here:
        row = measure(CASES[options.case[0]], options.contestant[0])
        sys.stdout.write(json.dumps({"case": options.case[0], **row}) + "\n")
        return 0
    known = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
    rows = {(row["case"], row["contestant"]): row for row in known}
    for case in options.case:
        for contestant in options.contestant or CASES[case].contestants:
            command = [sys.executable, "-m", "benchmarks.large", "--here", "--case", case, "--contestant", contestant]
            done = run_process(command, is_on_double=True, device_mib=DEVICE_MIB)
            failed = {"case": case, "contestant": contestant, "error": _last_line(done.stderr)}
            rows[case, contestant] = json.loads(done.stdout) if done.returncode == 0 else failed
            log.info("%s", rows[case, contestant])
            _write(options.output, [rows[key] for key in sorted(rows, key=_place)])
    return 0


def _place(key: tuple[str, str]) -> tuple[int, int]:
    return list(CASES).index(key[0]), CASES[key[0]].contestants.index(key[1])


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line and not line.startswith("{")]
    return lines[-1][:120] if lines else "failed"


def _write(output: Path, rows: Sequence[dict[str, Any]]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")
    output.with_suffix(".md").write_text(HEADING + markdown(rows) + NOTES)


HEADING = """# Large models, whose weights are the peak

MiB beyond the context: all that PyTorch's allocator reserves; in brackets the parameters as they are kept.
Measured on a device without silicon (tests/fakegpu), where bytes are true: nothing here ran on a GPU.

"""
NOTES = f"""
bf16 autocast, AdamW, {CLASSES} classes. LoRA: peft, rank 2 on the layers that widen (s2a's lora-lite), frozen weights
in bf16. s2a: the same adapter, each block rebuilt from {BITS}-bit codes of its input, one image a chunk; a policy of
the Python API, not a plan of the solver, so its gradient error is not judged here. {NARROWEST} of ViT-L: held by the
allocator's cap to {CASES["ViT-L"].budget_mib} MiB, the others without a budget and with cuBLAS workspaces of 16 MiB.

All weights: in fp32. "in backward": each weight's optimizer steps as soon as backward has its gradient, which is freed
(`s2a_core.train.optimizers.step_in_backward`, for a loop of your own). Beyond the weights and their 8-bit states
nothing large is left: what binds are the fp32 weights. "bf16 weights": stepped in fp32, one at a time, and rounded at
random.

    python -m benchmarks.large
"""


if __name__ == "__main__":
    sys.exit(main())
