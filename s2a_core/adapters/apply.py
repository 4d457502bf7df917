"""Putting adapters on a model: freezing the rest, adding modules, starting equal to the pretrained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from s2a_core.adapters.backbone import Backbone
from s2a_core.adapters.head import ATTRIBUTE, FOUND
from s2a_core.adapters.kind import Options
from s2a_core.adapters.lora import lora_layers
from s2a_core.adapters.spec import AUTO_OR_FULL, FULL, AdapterSpec
from s2a_core.batches import Samples, samples_of
from s2a_core.errors import InvalidInput
from s2a_core.models import data_config, has_batch_norm
from s2a_core.sides import ImageSize, sides

AUTO_RANK = 4
AUTO_MAP_REDUCTION = 2
LORA_LITE = "lora-lite"


def add_adapters(
    model: nn.Module,
    spec: AdapterSpec,
    image_size: ImageSize | None = None,
    *,
    head: str | Sequence[str] | None = FOUND,
    example: Any = None,
) -> nn.Module:
    """Freeze `model`, in place, but for the adapters of `spec` and the head; returns it.

    The outputs stay those of the pretrained model. Parameters and bytes held for backward: see the kinds in
    s2a_core.adapters.kinds; measured accuracies: s2a_core.adapters.spec.
    head: names of modules, None for no head, or "auto" (see head_modules). example: inputs of one or more samples (a
    tensor, a tuple of arguments or a dict of named ones) where the model is not given images of image_size pixels; only
    adapters that are placed by a forward pass ask for it.
    Raises BadAdapter where the model has no place for an adapter.
    """
    backbone = _backbone(model, image_size, head, example)
    if spec.is_auto:
        spec = _auto(backbone, spec)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in backbone.head_parameters)
    for kind in spec.declarations:
        kind.attach(backbone, Options(spec.rank_of(kind.name), spec.reduction))
    setattr(model, ATTRIBUTE, tuple(sorted(backbone.head_parameters)))
    model.s2a_adapter = spec  # type: ignore[assignment]
    return model


def resolve(model: nn.Module, spec: AdapterSpec, image_size: ImageSize | None = None) -> AdapterSpec:
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
    return _auto(_backbone(model, image_size), spec) if spec.is_auto else spec


def changed_names(model: nn.Module) -> set[str]:
    """Names of what training changes: trainable parameters, and statistics that BatchNorm estimates."""
    changed = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for prefix, module in model.named_modules():
        if not getattr(module, "s2a_rests", True):  # as s2a_core.train.mode says
            changed |= {f"{prefix}.{name}" for name, _ in module.named_buffers(recurse=False)}
    return changed


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """What training changes, as it is."""
    changed = changed_names(model)
    return {name: tensor for name, tensor in model.state_dict().items() if name in changed}


def trained_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """A copy of what training changes, on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in trained_state(model).items()}


def _auto(backbone: Backbone, spec: AdapterSpec) -> AdapterSpec:
    """What `auto` is for a model; see resolve."""
    model = backbone.model
    has_tokens = any(isinstance(module, nn.LayerNorm) for module in model.modules())
    if has_tokens and not has_batch_norm(model) and lora_layers(backbone, widening_only=True):
        return AdapterSpec((LORA_LITE,))
    if spec.kinds == (AUTO_OR_FULL,) and not has_tokens:
        return AdapterSpec((FULL,))
    added = ("prompt" if has_tokens else "side",) if backbone.places else ()
    rank, reduction = min(spec.rank or AUTO_RANK, AUTO_RANK), min(spec.reduction, AUTO_MAP_REDUCTION)
    return dataclasses.replace(spec, kinds=("bias", "norm", *added), rank=rank, reduction=reduction)


def _backbone(
    model: nn.Module, image_size: ImageSize | None, head: str | Sequence[str] | None = FOUND, example: Any = None
) -> Backbone:
    def inputs() -> Tensor | Samples:
        parameter = next(model.parameters())
        if example is not None:
            return samples_of(example)[:1].to(parameter.device)
        size = sides(image_size or _own_size(model))
        return torch.zeros(1, 3, *size, device=parameter.device, dtype=parameter.dtype)

    return Backbone(model, inputs, head)


def _own_size(model: nn.Module) -> ImageSize:
    """Pixels a side of the images a model is made for, as timm or transformers note it. Raises InvalidInput."""
    if hasattr(model, "pretrained_cfg"):
        of_timm: ImageSize = data_config(model)["image_size"]
        return of_timm
    size = getattr(getattr(model, "config", None), "image_size", None)
    if not isinstance(size, int):
        raise InvalidInput(
            "these adapters are placed by a forward pass, and this model does not say what it takes: give "
            "add_adapters(..., example=inputs), or image_size for a model of images [B, 3, H, W]"
        )
    return size
