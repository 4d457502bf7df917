"""What other ways of training this model would need: their peaks, measured at two batches of the same images."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from s2a_core.adapters.backbone import Backbone
from s2a_core.adapters.head import head_parameters
from s2a_core.adapters.lora import lora_layers, without_lora
from s2a_core.batches import Samples, sample_bytes
from s2a_core.compression.frozen import widen_weights
from s2a_core.profiling.estimate import estimated_peak, shapes_of
from s2a_core.profiling.progress import stage
from s2a_core.profiling.runs import run_step
from s2a_core.profiling.timeline import line, two_batches, upper_lines
from s2a_core.profiling.types import BaselineCost
from s2a_core.storage import StoragePolicy
from s2a_core.train.types import OnEvent

GRADIENT_BYTES = 4  # fp32
OPTIMIZER_BYTES = 8  # AdamW's two moments
ESTIMATED_BATCHES = (4, 8)
LORA_RANK = 8
LOG = logging.getLogger(__name__)
Builder = Callable[[nn.Module, Tensor | Samples], nn.Module | None]


def measure_baselines(
    model: nn.Module,
    x: Tensor | Samples,
    y: Tensor | Samples,
    precision: str,
    on_event: OnEvent = lambda event: None,
    dtypes: Sequence[torch.dtype] | None = None,
) -> tuple[BaselineCost, ...]:
    """full, lora, bias, bias + checkpointing, each with stock operators; those a model cannot take are left out.

    model: LoRA of its own is not part of the others. dtypes: of its parameters, before steps of a plan narrowed those
    that are frozen. On CUDA nothing is run: these are there to compare with, and would take more of the device than
    what is planned.
    """
    costs = []
    if x.device.type == "cuda" and not isinstance(x, Tensor):
        return ()
    for name, build in _BUILDERS.items():
        stage(on_event, f"measuring what other methods need: {name}")
        try:
            if isinstance(x, Tensor) and x.is_cuda:
                cost = _estimated(name, build, model, x, y, precision)
            else:
                cost = _measured(name, build, model, x, y, precision, dtypes)
        except Exception as error:  # what is shown beside a plan never stops the plan
            LOG.warning("%s is not compared with: %s: %s", name, type(error).__name__, error)
            continue
        costs += [cost] if cost is not None else []
    return tuple(costs)


def _measured(
    name: str, build: Builder, model: nn.Module, x: Tensor | Samples, y: Tensor | Samples, precision: str,
    dtypes: Sequence[torch.dtype] | None,
) -> BaselineCost | None:  # fmt: skip
    batches, copied = two_batches(len(x)), copy.deepcopy(model)
    for parameter, dtype in zip(copied.parameters(), dtypes or (), strict=dtypes is not None):
        parameter.data = parameter.data.to(dtype)  # of codes: what they decode to
    other = build(widen_weights(without_lora(copied)), x[:1])  # stock knows no codes
    if other is None:
        return None
    other.train()
    turns = [run_step(other, x[:n], y[:n], StoragePolicy(), precision, True).trace.turns() for n in batches]
    return _cost(name, other, x, upper_lines(batches, turns))


def _estimated(
    name: str, build: Builder, model: nn.Module, x: Tensor, y: Tensor | Samples, precision: str
) -> BaselineCost | None:
    """The same from shapes alone."""
    sample = x[:1].to("meta")

    def built(copied: nn.Module) -> nn.Module | None:
        return build(without_lora(copied), sample)

    mode, other = shapes_of(model, built)
    if other is None:
        return None
    other.train()
    peaks = [estimated_peak(mode, other, n, x, precision, y) for n in ESTIMATED_BATCHES]
    return _cost(name, other, x, [line(ESTIMATED_BATCHES, peaks)])


def _cost(name: str, model: nn.Module, x: Tensor | Samples, lines: Sequence[tuple[int, int]]) -> BaselineCost:
    """lines: (fixed, per sample) of the moving bytes, the steepest first."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = sum(p.numel() * p.element_size() for p in (*model.parameters(), *model.buffers()))
    always, image = weights + OPTIMIZER_BYTES * trained, sample_bytes(x)
    raised = [(fixed + always, slope + image) for fixed, slope in lines]
    return BaselineCost(name, *raised[0], always + GRADIENT_BYTES * trained, tuple(raised[1:]))


def _full(model: nn.Module, sample: Tensor | Samples) -> nn.Module | None:
    return model.requires_grad_(True)


def _bias(model: nn.Module, sample: Tensor | Samples) -> nn.Module | None:
    head = head_parameters(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias") or name in head)
    return model


def _bias_checkpointed(model: nn.Module, sample: Tensor | Samples) -> nn.Module | None:
    enable = getattr(model, "set_grad_checkpointing", None)
    if enable is None:
        return None
    try:
        enable(True)
    except (AssertionError, NotImplementedError, TypeError):
        return None  # timm models without blocks refuse
    return _bias(model, sample)


def _lora(model: nn.Module, sample: Tensor | Samples) -> nn.Module | None:
    """Stock LoRA on the linear layers outside the head, known by their type: names end alike in unlike modules."""
    backbone = Backbone(model, lambda: sample)
    targets = lora_layers(backbone, with_convolutions=False)
    if not targets:
        return None
    from peft import LoraConfig, get_peft_model  # takes seconds

    head = [parameter for module in backbone.head_modules for parameter in module.parameters()]
    names = "|".join(map(re.escape, targets))
    config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=names, lora_dropout=0.0)
    wrapped: nn.Module = get_peft_model(model, config)
    for parameter in head:
        parameter.requires_grad_(True)
    return wrapped


_BUILDERS: dict[str, Builder] = {
    "full": _full,
    "lora": _lora,
    "bias": _bias,
    "bias + checkpointing": _bias_checkpointed,
}
