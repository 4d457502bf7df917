"""`python scripts/gpu_check.py OUT [--dry-run]`: ten minutes on a bare GPU machine, one JSON file a phase into OUT.

Needs Python 3.11, torch >= 2.11, triton, timm, scipy and peft; no service, no network, no installed s2a. Every phase is
a process of its own with a time limit, so that one that hangs costs only itself. --dry-run: small shapes, on whatever
device is there, to see that every phase works; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MIB = 2**20
LIMITS_S = {"memory": 60, "kernels": 120, "gradients": 150, "contestants": 150, "budgets": 150, "sharing": 90}


def memory(is_dry: bool) -> dict[str, Any]:
    """The context and the libraries' workspaces, by NVML."""
    import torch

    from s2a_core.device import open_device

    device = open_device("cuda" if torch.cuda.is_available() else "cpu")
    if device is None:
        return {"device": "cpu"}
    sizes = {name: size / MIB for name, size in device.parts().items()}
    return {"device": torch.cuda.get_device_name(), "parts_mib": sizes, "is_listed": device.is_listed}


def kernels(is_dry: bool) -> dict[str, Any]:
    """Every kernel beside its reference on the CPU, at the shapes of ViT-B; gigabytes a second of the input."""
    import torch

    from s2a_core.kernels import backend, fit_table
    from s2a_core.operators import CURVES

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, channels = (2 * 197, 64) if is_dry else (64 * 197, 768)
    curve = CURVES["gelu"]
    table = fit_table(curve, 2)
    calls: dict[str, Callable[[torch.Tensor], Any]] = {
        "act_fwd": lambda x: backend.act_fwd(x, curve, table),
        "mask_fwd": lambda x: backend.mask_fwd(x, "relu6"),
        "normalize": lambda x: backend.normalize(x, 1e-6),
        "quantize_channels": lambda x: backend.quantize_channels(x.view(-1, 197, channels), 4),
    }
    found = {}
    for name, call in calls.items():
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(0)
            x = torch.randn(rows, channels, dtype=dtype)
            expected, actual = call(x), call(x.to(device))
            pairs = zip(_tensors(expected), _tensors(actual), strict=True)
            worst = max(float((e.float() - a.cpu().float()).abs().max()) for e, a in pairs)
            row: dict[str, Any] = {"largest_difference": worst}
            if device == "cuda":
                row["gb_per_s"] = x.nbytes / _seconds(lambda call=call, x=x: call(x.cuda())) / 1e9
            found[f"{name} {str(dtype).removeprefix('torch.')}"] = row
    return found


def gradients(is_dry: bool) -> dict[str, Any]:
    """Cosine of a compressed gradient with the exact one: codes and whole regions or blocks at 4 bits."""
    import torch

    from s2a_core import AdapterSpec, Plan, add_adapters, load_model, profile
    from s2a_core.profiling.runs import gradient, run_step
    from s2a_core.storage import StoragePolicy

    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = ("s2a_tiny",) if is_dry else ("vit_base_patch16_224", "convnext_tiny", "resnet50")
    found = {}
    for name in models:
        size, batch = (32, 4) if is_dry else (224, 16)
        model = add_adapters(load_model(name, "none", 10), AdapterSpec(kinds=("bias",)), size).to(device).train()
        x, y = torch.randn(batch, 3, size, size, device=device), torch.arange(batch, device=device) % 10
        measured = profile(model, size, 3, "fp32", name=name, has_baselines=False, sensitivity_s=0)
        run_step(model, x, y, StoragePolicy(), "fp32", False)
        exact = gradient(model)
        for is_recomputed in (False, True):
            plan = Plan.uniform(measured, 4, batch, is_recomputed)
            run_step(model, x, y, plan.policy, "fp32", False)
            cosine = torch.nn.functional.cosine_similarity(gradient(model), exact, dim=0)
            found[f"{name} {'regions and blocks' if is_recomputed else 'codes'}"] = float(cosine)
        del model
    return found


def contestants(is_dry: bool) -> list[dict[str, Any]]:
    """ViT-B at batch 64: allocated, reserved and held bytes and the step's time of every way to train it."""
    import torch

    from benchmarks.gpu import contestants as names

    if not torch.cuda.is_available():
        return [{"contestant": name} for name in names()]
    rows = []
    for name in names():
        command = [sys.executable, "-m", "benchmarks.gpu", "--contestant", name, "--batch", "2" if is_dry else "64"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        rows.append(
            json.loads(done.stdout) if not done.returncode else {"contestant": name, "error": done.stderr[-800:]}
        )
    return rows


def budgets(is_dry: bool) -> list[dict[str, Any]]:
    """Profile, plan, verify and train at budgets beyond the context: promised beside measured."""
    import torch

    from s2a_core import pipeline
    from s2a_core.device import open_device
    from s2a_core.errors import S2AError

    device = "cuda" if torch.cuda.is_available() else "cpu"
    opened = open_device(device)
    context = 0 if opened is None else sum(opened.parts().values())
    rows = []
    for beyond_mib in (64,) if is_dry else (512, 1024, 2048):
        with tempfile.TemporaryDirectory() as folder:
            request = pipeline.RunRequest(
                "s2a_tiny" if is_dry else "vit_base_patch16_224", data=str(_images(Path(folder) / "images")),
                budget_bytes=context + beyond_mib * MIB, output=Path(folder) / "out", weights="none", adapter="bias",
                device=device, epochs=1, batch_size=8 if is_dry else 64,
            )  # fmt: skip
            try:
                report = pipeline.run(request)
                keys = ("predicted_peak_bytes", "measured_peak_bytes", "within_budget", "step_ms")
                rows.append({"budget_bytes": request.budget_bytes} | {key: report[key] for key in keys})
            except S2AError as error:
                rows.append({"budget_bytes": request.budget_bytes, "error": error.message})
    return rows


def sharing(is_dry: bool) -> dict[str, Any]:
    """Two processes inside their caps, one that wants more than its own, one killed: who fails, and what comes back."""
    import torch

    from s2a_core.device import nvml

    if not torch.cuda.is_available():
        return {"device": "cpu"}
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    before = nvml.used_bytes(uuid)
    code = (
        "import sys, time, torch; from s2a_core.device import open_device\n"
        "m = open_device('cuda', 1500 << 20); x = []\n"
        "try:\n"
        "    x.append(torch.empty(int(sys.argv[1]) << 20, dtype=torch.uint8, device='cuda'))\n"
        "    print('fits', flush=True)\n"
        "except torch.OutOfMemoryError: print('refused', flush=True)\n"
        "time.sleep(8)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, size], stdout=subprocess.PIPE, text=True, env=environment)
        for size in ("300", "300", "4000")
    ]
    words = [process.stdout.readline().strip() if process.stdout else "" for process in processes]
    during = nvml.used_bytes(uuid)
    processes[0].kill()
    for process in processes:
        process.wait()
    return {"words": words, "before": before, "during": during, "after": nvml.used_bytes(uuid)}


def _tensors(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def _seconds(call: Callable[[], Any]) -> float:
    import torch

    for _ in range(3):
        call()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(10):
        call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e4


def _images(folder: Path) -> Path:
    from PIL import Image

    for split in ("train", "val"):
        for number, name in enumerate(("dark", "light")):
            place = folder / split / name
            place.mkdir(parents=True)
            for index in range(16):
                Image.new("RGB", (64, 64), (60 + 120 * number, 10 * index, 90)).save(place / f"{index}.png")
    return folder


PHASES = {f.__name__: f for f in (memory, kernels, gradients, contestants, budgets, sharing)}


def main() -> int:
    """Exit status 0 when every phase ended well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("output", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--phase", choices=PHASES, help="only this one, in this process")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.phase:
        result = PHASES[options.phase](options.dry_run)
        (options.output / f"{options.phase}.json").write_text(json.dumps(result, indent=1) + "\n")
        return 0
    failed = []
    for name, limit_s in LIMITS_S.items():
        began = time.monotonic()
        command = [sys.executable, __file__, str(options.output), "--phase", name]
        try:
            done = subprocess.run(
                command + ["--dry-run"] * options.dry_run, timeout=limit_s, capture_output=True, text=True, cwd=ROOT
            )
            error = done.stderr[-3000:] if done.returncode else ""
        except subprocess.TimeoutExpired:
            error = f"took more than {limit_s} s"
        if error:
            failed.append(name)
            (options.output / f"{name}.json").write_text(json.dumps({"error": error}, indent=1) + "\n")
        sys.stderr.write(f"{name}: {error or 'done'} ({time.monotonic() - began:.0f} s)\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
