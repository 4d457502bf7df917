"""`python -m benchmarks.gpu`: ViT-B/16 by PyTorch's own allocator, one contestant a process: memory, launches, time.

On a CUDA device, or with --double on one without silicon (tests/fakegpu), where bytes are true and times are left out.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.compression import compress, prepare_frozen_weights
from s2a_core.device import open_device, release_cached
from s2a_core.device.memory import DeviceMemory
from s2a_core.planning import Plan
from s2a_core.profiling import profile
from s2a_core.sizes import MIB
from s2a_core.storage import StoragePolicy

log = logging.getLogger("benchmarks.gpu")
MODEL, BATCH, CLASSES, STEPS = "vit_base_patch16_224", 64, 100, 3
Step = Callable[[torch.Tensor, torch.Tensor], None]


def contestants() -> dict[str, Callable[[], tuple[nn.Module, Plan | None]]]:
    """Name -> what makes the model, ready on the host, and the plan it trains under."""
    return {
        "full": lambda: (_model().requires_grad_(True), None),
        "LoRA r4 on qkv": lambda: (_lora(_model()), None),
        "bias + checkpointing": lambda: (_bias(checkpointed(_model())), None),
        "LoRA r4 on qkv + checkpointing": lambda: (_lora(checkpointed(_model())), None),
        "s2a bias, 4-bit blocks": _ours,
    }


def measure(name: str, batch: int, has_times: bool) -> dict[str, Any]:
    """Three steps of AdamW at `batch` images, bf16 autocast: bytes allocated, reserved and held, and milliseconds."""
    memory = open_device("cuda")
    assert memory is not None
    model, plan = contestants()[name]()
    model = model.to("cuda").train()
    if plan is None and name.startswith("s2a"):
        plan = _plan_of_blocks(model)
    x = torch.randn(batch, 3, 224, 224).cuda()
    y = (torch.arange(batch) % CLASSES).cuda()
    times = train_steps(model, plan, x, y)
    row = {"contestant": name, "batch": batch, **peaks(memory)}
    return row | ({"step_ms": min(times[1:])} if has_times else {})


def peaks(memory: DeviceMemory) -> dict[str, int]:
    """The most bytes since the peaks were reset: allocated, reserved, and with them what the context takes."""
    reserved, context = torch.cuda.max_memory_reserved(), memory.outside_bytes()
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": reserved,
        "held_bytes": context + reserved,
        "context_bytes": context,
    }


def train_steps(
    model: nn.Module,
    plan: Plan | StoragePolicy | None,
    x: torch.Tensor,
    y: torch.Tensor,
    optimizer: torch.optim.Optimizer | None = None,
    num_steps: int = STEPS,
) -> list[float]:
    """Milliseconds of each of a few steps, bf16 autocast, on images x [B, 3, H, W]. Peaks are reset before.

    optimizer: AdamW where none is given.
    """
    optimizer = optimizer or torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    release_cached("cuda")
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(num_steps):
        torch.cuda.synchronize()
        began = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16), compress(model, plan) if plan is not None else nullcontext():
            loss = nn.functional.cross_entropy(model(x).float(), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        del loss
        torch.cuda.synchronize()
        times.append((time.perf_counter() - began) * 1e3)
    return times


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table of the README."""
    lines = ["| | allocated | reserved | beyond the context |", "|---|--:|--:|--:|"]
    for row in rows:
        beyond = row["held_bytes"] - row["context_bytes"]
        sizes = [row["allocated_bytes"], row["reserved_bytes"], beyond]
        lines.append(f"| {row['contestant']} | " + " | ".join(f"{size / MIB:,.0f} MiB" for size in sizes) + " |")
    return "\n".join(lines) + "\n"


def _model() -> nn.Module:
    model: nn.Module = timm.create_model(MODEL, num_classes=CLASSES)
    return model.requires_grad_(False)


def checkpointed(model: nn.Module) -> nn.Module:
    model.set_grad_checkpointing(True)  # type: ignore[operator]
    return model


def _bias(model: nn.Module) -> nn.Module:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias") or name.startswith("head"))
    return model


def _lora(model: nn.Module) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    wrapped: nn.Module = get_peft_model(model, LoraConfig(r=4, target_modules=["qkv"], modules_to_save=["head"]))
    return wrapped


def _ours() -> tuple[nn.Module, Plan | None]:
    model = add_adapters(_model(), AdapterSpec(kinds=("bias",)))
    prepare_frozen_weights(model, "bf16")
    return model, None


def _plan_of_blocks(model: nn.Module) -> Plan:
    """Every block at 4 bits, one sample a chunk, the batch in one go."""
    measured = profile(model, 224, 2, "bf16", name=MODEL, adapter="bias", has_baselines=False, sensitivity_s=0)
    return Plan.uniform(measured, bits=4, batch_size=BATCH, recompute=True)


def run_process(command: Sequence[str], is_on_double: bool, device_mib: int = 81920, timeout_s: float = 1800) -> Any:
    """What the command printed and how it ended. Raises TimeoutExpired."""
    if not is_on_double:
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    from tests.fakegpu.double import FakeDevices

    return FakeDevices(device_mib=device_mib, capability=80).run(command, timeout_s=timeout_s)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0, 2 without a device."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--contestant", choices=contestants(), help="measure this one here and print its row")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--double", action="store_true", help="on a device without silicon")
    parser.add_argument("--output", type=Path, default=Path("docs/device/vit_base.json"))
    options = parser.parse_args(argv)
    if options.contestant:
        row = measure(options.contestant, options.batch, has_times=not options.double)
        sys.stdout.write(json.dumps(row) + "\n")
        return 0
    if not options.double and not torch.cuda.is_available():
        log.error("benchmarks.gpu: torch.cuda.is_available() is False here; --double measures bytes without a GPU")
        return 2
    rows = []
    for name in contestants():
        command = [sys.executable, "-m", "benchmarks.gpu", "--contestant", name, "--batch", str(options.batch)]
        command += ["--double"] if options.double else []
        done = run_process(command, options.double)
        if done.returncode:
            log.error("%s: %s", name, done.stderr[-2000:])
            return 1
        rows.append(json.loads(done.stdout))
        log.info("%s", rows[-1])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    device = "a device without silicon (tests/fakegpu)" if options.double else torch.cuda.get_device_name()
    document = {"model": MODEL, "device": device, "torch": torch.__version__, "rows": rows}
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
