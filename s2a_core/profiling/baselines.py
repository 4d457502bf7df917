"""What other ways of training this model would need: their peaks, measured at two batches of the same images."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn

from s2a_core.adapters.lora import without_lora
from s2a_core.profiling.runs import run_step
from s2a_core.profiling.timeline import two_batches, upper_lines
from s2a_core.profiling.types import BaselineCost
from s2a_core.storage import StoragePolicy

GRADIENT_BYTES = 4  # fp32
OPTIMIZER_BYTES = 8  # AdamW's two moments
LORA_RANK = 8
LORA_TARGETS = ("qkv", "proj", "fc1", "fc2", "query", "key", "value", "q", "k", "v")


def measure_baselines(model: nn.Module, x: Tensor, y: Tensor, precision: str) -> tuple[BaselineCost, ...]:
    """full, lora, bias, bias + checkpointing, each with stock operators; those a model cannot take are left out.

    model: LoRA of its own is not part of the others.
    """
    small, large = two_batches(len(x))
    found = []
    for name, build in _BUILDERS.items():
        other = build(without_lora(copy.deepcopy(model)))
        if other is None:
            continue
        other.train()
        turns = [run_step(other, x[:n], y[:n], StoragePolicy(), precision, True).trace.turns() for n in (small, large)]
        trained = sum(p.numel() for p in other.parameters() if p.requires_grad)
        weights = sum(p.numel() * p.element_size() for p in (*other.parameters(), *other.buffers()))
        always, image = weights + OPTIMIZER_BYTES * trained, x[0].numel() * 4
        lines = [(fixed + always, slope + image) for fixed, slope in upper_lines((small, large), turns)]
        floor = always + GRADIENT_BYTES * trained
        found.append(BaselineCost(name, *lines[0], floor, tuple(lines[1:])))
        del other
    return tuple(found)


def _full(model: nn.Module) -> nn.Module | None:
    return model.requires_grad_(True)


def _bias(model: nn.Module) -> nn.Module | None:
    head = {id(p) for p in _head(model)}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias") or id(parameter) in head)
    return model


def _bias_checkpointed(model: nn.Module) -> nn.Module | None:
    enable = getattr(model, "set_grad_checkpointing", None)
    if enable is None:
        return None
    try:
        enable(True)
    except (AssertionError, NotImplementedError, TypeError):
        return None  # timm models without blocks refuse
    return _bias(model)


def _lora(model: nn.Module) -> nn.Module | None:
    from peft import LoraConfig, get_peft_model

    names = {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    targets = [t for t in LORA_TARGETS if t in names]
    if not targets:
        return None
    head = list(_head(model))
    config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=targets, lora_dropout=0.0)
    wrapped: nn.Module = get_peft_model(model, config)
    for parameter in head:
        parameter.requires_grad_(True)
    return wrapped


def _head(model: nn.Module) -> list[nn.Parameter]:
    find: Callable[[], nn.Module] | None = getattr(model, "get_classifier", None)
    head = find() if find is not None else None
    return list(head.parameters()) if isinstance(head, nn.Module) else []


_BUILDERS: dict[str, Callable[[nn.Module], nn.Module | None]] = {
    "full": _full,
    "lora": _lora,
    "bias": _bias,
    "bias + checkpointing": _bias_checkpointed,
}
