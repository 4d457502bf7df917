"""The predicted peak beside what else predicts one: PyTorch's MemTracker under fake tensors, and a two-point fit.

Full fine-tuning by stock operators, and s2a's bias tuning in regions. Each predictor says the whole peak of one
training step with AdamW (weights, states, gradients, input, activations, temporaries) at a batch it has not seen; then
that step runs and the allocator's events say what it took.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import timm
import torch
from torch import Tensor, nn

from benchmarks.measure import images
from benchmarks.results import PredictionRun
from s2a_core.adapters import AdapterSpec, add_adapters
from s2a_core.planning import Plan
from s2a_core.profiling import Profile, profile
from s2a_core.profiling.runs import run_step, unchanged
from s2a_core.storage import StoragePolicy
from s2a_core.train.mode import resting_modules, training_mode

# Small models of different families, with the image size that keeps a run short.
MODELS = ("deit_tiny_patch16_224", "convnext_atto", "resnet18", "mobilenetv2_100")
SIZE, CLASSES, BATCH, FITTED_ON, BITS = 96, 10, 16, (2, 4), 4


def create(name: str, adapter: str) -> nn.Module:
    """A seeded model with an adapter."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": SIZE} if name.startswith("deit") else {}
    created: nn.Module = timm.create_model(name, num_classes=CLASSES, **options)
    return add_adapters(created, AdapterSpec.parse(adapter), SIZE)


def constant_bytes(model: nn.Module) -> int:
    """Weights, buffers and AdamW's two fp32 states."""
    tensors = (*model.parameters(), *model.buffers())
    states = sum(8 * p.numel() for p in model.parameters() if p.requires_grad)
    return sum(t.numel() * t.element_size() for t in tensors) + states


def total(model: nn.Module, batch: int, policy: StoragePolicy) -> int:
    """What one step takes in all: the constant part, the input, and the peak with its gradients."""
    x, y = images(batch, SIZE, CLASSES, torch.float32)
    with unchanged(model):
        training_mode(model, resting_modules(model, str(model.s2a_adapter)))
        run_step(model, x, y, policy, "fp32", is_metered=True)
        peak = run_step(model, x, y, policy, "fp32", is_metered=True).peak_bytes
    return constant_bytes(model) + x.nbytes + peak


def two_points(model: nn.Module, policy: StoragePolicy) -> int:
    """The line through the measured totals of two small batches, at BATCH."""
    small, large = (total(model, n, policy) for n in FITTED_ON)
    return round(small + (large - small) * (BATCH - FITTED_ON[0]) / (FITTED_ON[1] - FITTED_ON[0]))


def tracked(model: nn.Module, x: Tensor, y: Tensor) -> int | None:
    """MemTracker's peak of two steps with fake tensors; None where the program does not run with them."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    with FakeTensorMode():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                fake = nn.Parameter(torch.empty(parameter.shape), parameter.requires_grad)
                setattr(module, name, fake)
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))
        optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
        images, labels = torch.empty(x.shape), torch.empty(y.shape, dtype=y.dtype)
        tracker = MemTracker()
        tracker.track_external(model, optimizer, images)
        with tracker:
            for step in range(2):
                nn.functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad()
                if step == 0:
                    tracker.reset_mod_stats()
        snapshot: Any = tracker.get_tracker_snapshot("peak")
        return int(next(iter(snapshot.values()))["Total"])


def full(name: str) -> PredictionRun:
    """Full fine-tuning with stock operators."""
    model = create(name, "full")
    profiled = _profile(model, name, "full", has_baselines=True)
    ours = next(b for b in profiled.baselines if b.name == "full").at(BATCH)
    fit, measured = two_points(model, StoragePolicy()), total(model, BATCH, StoragePolicy())
    x, y = images(BATCH, SIZE, CLASSES, torch.float32)
    return PredictionRun(name, "full", BATCH, measured, ours, fit, tracked(model, x, y))


def compressed(name: str) -> PredictionRun:
    """Bias tuning with every region at 4 bits; MemTracker does not know compressed storages, so it has no figure."""
    model = create(name, "bias")
    plan = Plan.uniform(_profile(model, name, "bias", has_baselines=False), BITS, BATCH, recompute=True)
    fit, measured = two_points(model, plan.policy), total(model, BATCH, plan.policy)
    return PredictionRun(name, "s2a bias, regions 4 bit", BATCH, measured, plan.predicted.peak_bytes, fit, None)


def _profile(model: nn.Module, name: str, adapter: str, has_baselines: bool) -> Profile:
    return profile(
        model, SIZE, 4, name=name, adapter=adapter, has_baselines=has_baselines, sensitivity_s=0.0, refine_s=0.0
    )


def runs(models: tuple[str, ...] = MODELS) -> Iterator[PredictionRun]:
    """Both ways of training, model by model."""
    for name in models:
        yield full(name)
        yield compressed(name)
