"""What other ways of training this model would need: their peaks, measured at two batches of the same images."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

from torch import Tensor, nn

from s2a_core.adapters.backbone import Backbone
from s2a_core.adapters.head import head_parameters
from s2a_core.adapters.lora import lora_layers, without_lora
from s2a_core.profiling.runs import run_step
from s2a_core.profiling.timeline import two_batches, upper_lines
from s2a_core.profiling.types import BaselineCost
from s2a_core.storage import StoragePolicy

GRADIENT_BYTES = 4  # fp32
OPTIMIZER_BYTES = 8  # AdamW's two moments
LORA_RANK = 8


def measure_baselines(model: nn.Module, x: Tensor, y: Tensor, precision: str) -> tuple[BaselineCost, ...]:
    """full, lora, bias, bias + checkpointing, each with stock operators; those a model cannot take are left out.

    model: LoRA of its own is not part of the others.
    """
    small, large = two_batches(len(x))
    found = []
    for name, build in _BUILDERS.items():
        other = build(without_lora(copy.deepcopy(model)), x[:1])
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


def _full(model: nn.Module, sample: Tensor) -> nn.Module | None:
    return model.requires_grad_(True)


def _bias(model: nn.Module, sample: Tensor) -> nn.Module | None:
    head = head_parameters(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias") or name in head)
    return model


def _bias_checkpointed(model: nn.Module, sample: Tensor) -> nn.Module | None:
    enable = getattr(model, "set_grad_checkpointing", None)
    if enable is None:
        return None
    try:
        enable(True)
    except (AssertionError, NotImplementedError, TypeError):
        return None  # timm models without blocks refuse
    return _bias(model, sample)


def _lora(model: nn.Module, sample: Tensor) -> nn.Module | None:
    """Stock LoRA on the linear layers outside the head, known by their type: names end alike in unlike modules."""
    from peft import LoraConfig, get_peft_model

    backbone = Backbone(model, lambda: sample)
    targets = lora_layers(backbone, with_convolutions=False)
    if not targets:
        return None
    head = [parameter for module in backbone.head_modules for parameter in module.parameters()]
    names = "|".join(map(re.escape, targets))
    config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=names, lora_dropout=0.0)
    wrapped: nn.Module = get_peft_model(model, config)
    for parameter in head:
        parameter.requires_grad_(True)
    return wrapped


_BUILDERS: dict[str, Callable[[nn.Module, Tensor], nn.Module | None]] = {
    "full": _full,
    "lora": _lora,
    "bias": _bias,
    "bias + checkpointing": _bias_checkpointed,
}
