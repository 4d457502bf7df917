"""Putting adapters on a model: freezing the rest, adding modules, starting equal to the pretrained model."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from s2a_core.adapters.blocks import Place, places
from s2a_core.adapters.lora import add_lora, lora_layers
from s2a_core.adapters.prompt import LowRankPrompt
from s2a_core.adapters.side import SideLadder, SideResidual, after_block
from s2a_core.adapters.spec import FULL, LORA_LITE, AdapterSpec
from s2a_core.errors import BadAdapter
from s2a_core.models import data_config, has_batch_norm, head_parameters

PROMPT = "s2a_prompt"
SIDE = "s2a_side"
LADDER = "s2a_ladder"
AUTO_RANK = 4
AUTO_MAP_REDUCTION = 2
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)


def resolve(model: nn.Module, spec: AdapterSpec, image_size: int | None = None) -> AdapterSpec:
    """`auto` made concrete: on transformers lora-lite, on CNNs bias, norm and side branches, on hybrids with prompts.

    lora-lite is LoRA of rank 2 on the layers that widen (a ViT's qkv and fc1), 0.75 % of DeiT-tiny's parameters. In an
    attention or an MLP that is rebuilt from its norm's codes its inputs are rebuilt too: it holds no more than biases
    do, and trains better. On CNNs it does not; there scales and residual branches (TinyTL, Cai et al. 2020) close most
    of the distance between biases and full fine-tuning. A branch works at a quarter of a large map's positions, so
    half of the channels are few bytes beside a block's own. All weights close the rest: auto-or-full, with which plans
    begin, is full on CNNs. Hybrids (LayerNorm and BatchNorm) train bias, norm and prompts of rank 4. A model without
    repeated blocks has no place for branches or prompts and goes without.
    image_size: as in add_adapters. Accuracies: s2a_core.adapters.spec.
    """
    return _auto(model, spec, _size_of(model, image_size))[0] if spec.is_auto else spec


def _auto(model: nn.Module, spec: AdapterSpec, image_size: int) -> tuple[AdapterSpec, list[Place]]:
    """What `auto` is, and the places it takes: finding them is a forward pass."""
    has_tokens = any(isinstance(module, nn.LayerNorm) for module in model.modules())
    lite = AdapterSpec.parse(LORA_LITE)
    if has_tokens and not has_batch_norm(model) and lora_layers(model, lite, image_size):
        return lite, []
    if spec.or_full and not has_tokens:
        return AdapterSpec((FULL,)), []
    found = places(model, image_size)
    added = ("prompt" if has_tokens else "side",) if found else ()
    rank, reduction = min(spec.rank, AUTO_RANK), min(spec.reduction, AUTO_MAP_REDUCTION)
    kinds = ("bias", "norm", *added)
    return dataclasses.replace(spec, kinds=kinds, rank=rank, reduction=reduction, or_full=False), found


def add_adapters(model: nn.Module, spec: AdapterSpec, image_size: int | None = None) -> nn.Module:
    """Freeze `model`, in place, but for the adapters of `spec` and the classifier; returns it.

    The outputs stay those of the pretrained model. Parameters and bytes held for backward by kind: head 0; bias one per
    output channel, 0 bytes; norm two per channel, x̂ of each norm; prompt, side see
    LowRankPrompt, SideResidual and SideLadder; lora rank·(inputs + outputs) per linear layer or 1 x 1 convolution, the
    layers' inputs where nothing rebuilds them; full everything. Measured accuracies: s2a_core.adapters.spec.
    Raises BadAdapter where the model has no place for an adapter.
    """
    found: list[Place] = []
    if spec.is_auto:
        spec, found = _auto(model, spec, _size_of(model, image_size))
    elif _needs_places(spec):
        found = places(model, _size_of(model, image_size))
    head = head_parameters(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(FULL in spec.kinds or name in head)
    if "bias" in spec.kinds:
        for name, parameter in model.named_parameters():
            if name.rsplit(".", 1)[-1].endswith("bias"):
                parameter.requires_grad_(True)
    if "norm" in spec.kinds:
        for module in model.modules():
            if isinstance(module, _NORMS):
                for parameter in module.parameters(recurse=False):
                    parameter.requires_grad_(True)
    if "prompt" in spec.kinds:
        _add_prompts(found, spec.rank)
    if "side" in spec.kinds:
        (_add_ladder if spec.detach else _add_residuals)(model, found, spec.reduction)
    if "lora" in spec.kinds:
        add_lora(model, spec, _size_of(model, image_size))
    model.s2a_adapter = spec  # type: ignore[assignment]
    return model


def trained_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """What training changes, on the CPU: trainable parameters, and statistics that it estimates."""
    changed = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for prefix, module in model.named_modules():
        if not getattr(module, "s2a_rests", True):  # as s2a_core.train.mode says
            changed |= {f"{prefix}.{name}" for name, _ in module.named_buffers(recurse=False)}
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items() if name in changed}


def _size_of(model: nn.Module, image_size: int | None) -> int:
    return image_size or int(data_config(model)["image_size"])


def _needs_places(spec: AdapterSpec) -> bool:
    return bool({"prompt", "side"} & set(spec.kinds))


def _add_prompts(found: list[Place], rank: int) -> None:
    for place in found:
        _attach(place.block, PROMPT, LowRankPrompt(place.in_shape, place.channels_first, rank))
        place.block.register_forward_pre_hook(_prepend)
    if not found:
        raise BadAdapter("prompt needs a model with repeated blocks over tokens or maps; this one has none: use bias")


def _prepend(block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Forward pre-hook: the block sees its input with the prompt added."""
    prompted: Tensor = getattr(block, PROMPT)(args[0])
    return (prompted, *args[1:])


def _add_residuals(model: nn.Module, found: list[Place], reduction: int) -> None:
    for place in found:
        branch = SideResidual(place.in_shape, place.out_shape, place.channels_first, reduction)
        _attach(place.block, SIDE, branch)
        place.block.register_forward_hook(after_block)
    if not found:
        raise BadAdapter("side needs a model with repeated blocks over tokens or maps; this one has none: use bias")


def _add_ladder(model: nn.Module, found: list[Place], reduction: int) -> None:
    classifier: Any = model.get_classifier()  # type: ignore[operator]
    if not found or not isinstance(classifier, nn.Linear):
        raise BadAdapter("a detached side branch needs repeated blocks and one linear classifier; use bias")
    shapes = [place.out_shape for place in found]
    ladder = SideLadder(shapes, [place.channels_first for place in found], classifier.in_features, reduction)
    _attach(model, LADDER, ladder)
    for rung, place in enumerate(found):
        place.block.register_forward_hook(_Climb(ladder, rung))
    classifier.register_forward_pre_hook(_Arrive(ladder))


class _Climb:
    """Forward hook of a block: the ladder reads its output."""

    def __init__(self, ladder: SideLadder, rung: int) -> None:
        self.ladder, self.rung = ladder, rung

    def __call__(self, block: nn.Module, args: Any, output: Tensor) -> None:
        self.ladder.climb(self.rung, output)


class _Arrive:
    """Forward pre-hook of the classifier: it sees its features plus what the ladder made."""

    def __init__(self, ladder: SideLadder) -> None:
        self.ladder = ladder

    def __call__(self, classifier: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.ladder.add_to(args[0]), *args[1:])


def _attach(owner: nn.Module, name: str, adapter: nn.Module) -> None:
    reference = next(owner.parameters())
    owner.add_module(name, adapter.to(reference.device, torch.float32))
